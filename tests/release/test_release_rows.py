"""A release's rows: append-only parts; the last one wins."""

import threading
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from rayreel.encoders.encoder import Modality
from rayreel.release import rows as module
from rayreel.release.rows import ROWS, ReleaseRows, embeddings, part_embeddings, tombstones, videos
from rayreel.storage import Storage
from release_rows import DIM, release_row, release_table, unit


@pytest.fixture
def rows(any_storage: Storage) -> ReleaseRows:
    return ReleaseRows(any_storage, 3)


def test_the_last_part_wins(rows: ReleaseRows) -> None:
    rows.add(release_table(release_row("a"), release_row("b"), release_row("c")))
    rows.add(release_table(release_row("b", "2", title="new")))
    rows.add(tombstones(["a", "c"]))
    last = rows.add(release_table(release_row("c", "3")))
    changes = rows.read()
    assert [(row.video_id, row.version) for row in videos(changes.rows)] == [("b", "2"), ("c", "3")]
    assert changes.deleted == {"a"}
    assert changes.last == last
    assert rows.current() == {"b": "2", "c": "3"}


def test_only_parts_in_the_given_range_are_read(rows: ReleaseRows) -> None:
    first, second, third = (rows.add(release_table(release_row(video_id))) for video_id in "abc")
    assert rows.parts() == [first, second, third] == sorted([third, second, first])
    assert rows.parts(after=first) == [second, third]
    assert rows.read(first, second).rows["video_id"].to_pylist() == ["b"]
    assert rows.read(upto=second).rows["video_id"].to_pylist() == ["a", "b"]


def test_there_are_no_changes_after_the_last_part(rows: ReleaseRows) -> None:
    assert (len(rows.read()), rows.read().last, rows.current()) == (0, "", {})
    last = rows.add(release_table(release_row("a")))
    changes = rows.read(last)
    assert (len(changes), changes.last) == (0, last)


def test_rows_are_read_as_they_were_written(rows: ReleaseRows) -> None:
    table = release_table(
        release_row("a", sound=False, tags=[], extra={"views": 3}, created_at=1.5e9), release_row("b", duration_s=None)
    )
    rows.add(table)
    assert rows.read().rows.equals(table)
    a, b = videos(rows.read().rows)
    assert (a.tags, a.extra, a.created_at, b.tags, b.duration_s) == ((), {"views": 3}, 1.5e9, ("t",), None)
    assert a.fields()["extra"] == {"views": 3} and a.fields()["video_id"] == "a"


def test_embeddings_are_arrays_with_zeros_for_absent_modalities(rows: ReleaseRows) -> None:
    rows.add(release_table(release_row("a", sound=False), release_row("b")))
    found = rows.read().rows
    np.testing.assert_array_equal(embeddings(found), np.stack([unit("a 1"), unit("b 1")]))
    sound, present = part_embeddings(found, Modality.AUDIO)
    assert present.tolist() == [False, True]
    np.testing.assert_array_equal(sound, np.stack([np.zeros(DIM), unit("audio b")]).astype(np.float16))
    vectors, present = part_embeddings(release_table(release_row("a", sound=False)), Modality.AUDIO)
    assert vectors.shape == (1, DIM) and not vectors.any() and not present.any()


def test_no_rows_have_no_embeddings(rows: ReleaseRows) -> None:
    assert len(embeddings(ROWS.empty_table())) == 0
    assert len(part_embeddings(ROWS.empty_table(), Modality.TEXT)[0]) == 0


def test_a_reader_misses_no_part_that_is_written_concurrently(tmp_path: Path) -> None:
    def write(writer: str) -> None:
        rows = ReleaseRows(Storage(tmp_path), 1)
        for number in range(20):
            rows.add(release_table(release_row(f"{writer}{number:02}")))

    writers = [threading.Thread(target=write, args=(name,)) for name in "abcd"]
    for writer in writers:
        writer.start()
    seen: set[str] = set()
    position, reader = "", ReleaseRows(Storage(tmp_path), 1)
    while alive := any(writer.is_alive() for writer in writers) or reader.parts(position):
        changes = reader.read(position)
        seen |= set(changes.rows["video_id"].to_pylist())
        position = changes.last
    assert not alive
    assert seen == {f"{writer}{number:02}" for writer in "abcd" for number in range(20)}


def test_a_broken_part_is_set_aside_and_its_rows_are_omitted(rows: ReleaseRows) -> None:
    rows.add(release_table(release_row("a")))
    last = rows.add(release_table(release_row("b")))
    path = f"{rows.folder}/rows/{last}"
    rows.storage.write(path, b"")
    assert rows.current() == {"a": "1"}
    assert rows.storage.read(f"{path}.broken") == b""
    rows.add(release_table(release_row("b")))
    assert rows.read(after=last).rows["video_id"].to_pylist() == ["b"], "a reader who had read the broken part"


def test_releases_have_separate_rows(any_storage: Storage) -> None:
    first, second = ReleaseRows(any_storage, 1), ReleaseRows(any_storage, 2)
    first.add(release_table(release_row("a")))
    assert second.current() == {}
    second.add(release_table(release_row("b")))
    first.drop()
    first.drop()
    assert (first.current(), second.current()) == ({}, {"b": "1"})


def test_the_marker_is_persistent(rows: ReleaseRows) -> None:
    assert rows.marker() == ""
    part = rows.add(release_table(release_row("a")))
    rows.set_marker(part)
    assert ReleaseRows(rows.storage, 3).marker() == part


def test_compaction_changes_only_files(rows: ReleaseRows) -> None:
    rows.add(release_table(release_row("a"), release_row("b")))
    middle = rows.add(tombstones(["a"]))
    last = rows.add(release_table(release_row("c"), release_row("b", "2")))
    before = rows.read()
    assert rows.compact(last) == 3
    assert len(rows.parts()) == 1
    after = rows.read()
    assert after.rows.equals(before.rows) and after.deleted == before.deleted == {"a"}
    assert rows.parts(after=last) == [], "who has read everything has nothing new to read"
    assert rows.read(after=middle).rows["video_id"].to_pylist() == ["b", "c"]
    rows.add(release_table(release_row("d")))
    assert rows.parts(after=last) == rows.parts()[1:]


def test_parts_after_a_snapshot_are_not_merged_with_those_before_it(rows: ReleaseRows) -> None:
    names = [rows.add(release_table(release_row(video_id))) for video_id in "abcde"]
    assert rows.compact(names[2]) == 3
    assert rows.parts(after=names[2]) == names[3:]
    assert rows.read(after=names[2]).rows["video_id"].to_pylist() == ["d", "e"]


def test_large_parts_are_not_merged_and_split_runs(rows: ReleaseRows, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "ROWS_PER_PART", 4)
    for ids in ("a", "b", "cdef", "g", "hi", "jk", "l"):
        rows.add(release_table(*(release_row(video_id) for video_id in ids)))
    before = rows.current()
    rows.compact(rows.parts()[-1])
    assert [sorted(rows.read(*span).rows["video_id"].to_pylist()) for span in spans(rows)] == [
        ["a", "b"],
        ["c", "d", "e", "f"],
        ["g", "h", "i"],
        ["j", "k", "l"],
    ]
    assert rows.current() == before


def spans(rows: ReleaseRows) -> list[tuple[str, str]]:
    parts = ["", *rows.parts()]
    return list(pairwise(parts))

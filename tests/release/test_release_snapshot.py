"""Writing and loading of snapshots, in a folder and in an object store."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from rayreel.encoders.encoder import Modality
from rayreel.release.mend import mend_snapshot
from rayreel.release.neighbours import exact_neighbours
from rayreel.release.rows import ReleaseRows, embeddings, tombstones, videos
from rayreel.release.snapshot import NoSnapshot, kept_versions, load_snapshot, snapshot_pointer, write_snapshot
from rayreel.storage import Storage
from release_rows import DIM, release_row, release_table


@pytest.fixture
def rows(any_storage: Storage) -> ReleaseRows:
    rows = ReleaseRows(any_storage, 3)
    rows.add(release_table(*(release_row(f"v{n:02}", sound=n % 2 == 0, extra={"n": n}) for n in range(30))))
    return rows


def test_a_snapshot_has_the_rows_as_arrays_with_exact_neighbours(rows: ReleaseRows, tmp_path: Path) -> None:
    name = write_snapshot(rows.storage, rows, 5)
    snapshot = load_snapshot(rows.storage, 3, tmp_path / "cache")
    now = rows.read()
    assert (snapshot.version, snapshot.name, snapshot.upto, len(snapshot)) == (3, name, now.last, 30)
    assert snapshot.rows == videos(now.rows)
    assert snapshot.ids == sorted(snapshot.ids) and snapshot.place["v07"] == snapshot.ids.index("v07")
    np.testing.assert_array_equal(snapshot.embeddings_ND, embeddings(now.rows))
    nearest, scores = exact_neighbours(embeddings(now.rows), 5)
    np.testing.assert_array_equal(snapshot.neighbours_NK, nearest)
    np.testing.assert_array_equal(snapshot.scores_NK, scores)
    assert snapshot.present[Modality.AUDIO].tolist() == [n % 2 == 0 for n in range(30)]
    assert snapshot.parts[Modality.AUDIO].shape == (30, DIM) and snapshot.parts[Modality.AUDIO].dtype == np.float16
    assert not snapshot.parts[Modality.AUDIO][1].any() and snapshot.parts[Modality.AUDIO][2].any()


def test_large_arrays_are_mapped_read_only(rows: ReleaseRows, tmp_path: Path) -> None:
    write_snapshot(rows.storage, rows, 5)
    snapshot = load_snapshot(rows.storage, 3, tmp_path / "cache")
    for array in (snapshot.embeddings_ND, snapshot.neighbours_NK, *snapshot.parts.values()):
        assert isinstance(array, np.memmap)
        with pytest.raises(ValueError, match="read-only"):
            array[0] = 0


def test_a_snapshot_is_deleted_after_its_second_successor_is_written(rows: ReleaseRows, tmp_path: Path) -> None:
    names = [write_snapshot(rows.storage, rows, 5)]
    old = load_snapshot(rows.storage, 3, tmp_path / "cache")
    rows.add(tombstones(["v00"]))
    names += [write_snapshot(rows.storage, rows, 5)]
    assert load_snapshot(rows.storage, 3, tmp_path / "cache").ids[0] == "v01"
    kept = rows.storage.folders(rows.storage.path("releases", "v3", "snapshots"))
    assert sorted(kept) == sorted(names), "a replica may be loading the one before"
    names += [write_snapshot(rows.storage, rows, 5)]
    kept = rows.storage.folders(rows.storage.path("releases", "v3", "snapshots"))
    assert sorted(kept) == sorted(names[1:])
    load_snapshot(rows.storage, 3, tmp_path / "cache")
    assert old.embeddings_ND[0].any(), "who has it open keeps it"


def test_an_unfinished_snapshot_of_a_killed_process_is_never_loaded(tmp_path: Path) -> None:
    rows = ReleaseRows(Storage(tmp_path), 3)
    rows.add(release_table(release_row("a"), release_row("b")))
    name = write_snapshot(rows.storage, rows, 5)
    unfinished = tmp_path / "releases" / "v3" / "snapshots" / "snapshot-killed"
    unfinished.mkdir()
    (unfinished / "embeddings.npy").write_bytes(b"half")
    assert load_snapshot(rows.storage, 3, tmp_path).name == name
    write_snapshot(rows.storage, rows, 5)
    assert unfinished.exists(), "another process may be writing it"
    os.utime(unfinished / "embeddings.npy", (0, 0))
    write_snapshot(rows.storage, rows, 5)
    assert not unfinished.exists()


def test_a_snapshot_is_copied_from_an_object_store_once_and_old_copies_are_deleted(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = f"scheme=http&endpoint_override={s3}&region=us-east-1&allow_bucket_creation=true"
    rows = ReleaseRows(Storage(f"s3://copied/prefix?{options}"), 1)
    rows.add(release_table(release_row("a"), release_row("b")))
    cache = tmp_path / "cache"
    for _ in range(3):
        write_snapshot(rows.storage, rows, 5)
        load_snapshot(rows.storage, 1, cache)
    copies = list(cache.glob("*/v1/*"))
    assert len(copies) == 2
    before = {path: path.stat().st_mtime_ns for path in cache.rglob("*")}
    load_snapshot(rows.storage, 1, cache)
    assert before == {path: path.stat().st_mtime_ns for path in cache.rglob("*")}


@pytest.mark.parametrize("name", ["embeddings.npy", "neighbours.npy", "rows.parquet", "has_text.npy"])
@pytest.mark.parametrize("keep", [0, 40, 0.5])
def test_a_broken_snapshot_is_reported_and_the_previous_one_is_loaded(
    tmp_path: Path, name: str, keep: float, caplog: pytest.LogCaptureFixture
) -> None:
    rows = ReleaseRows(Storage(tmp_path), 3)
    rows.add(release_table(*(release_row(f"v{n:02}") for n in range(40))))
    whole = write_snapshot(rows.storage, rows, 5)
    rows.add(tombstones(["v00"]))
    broken = write_snapshot(rows.storage, rows, 5)
    file = tmp_path / "releases" / "v3" / "snapshots" / broken / name
    content = file.read_bytes()
    file.write_bytes(content[: int(keep * len(content)) if keep < 1 else int(keep)])
    assert load_snapshot(rows.storage, 3, tmp_path).name == whole
    assert f"{file} is broken" in caplog.text
    damage = mend_snapshot(rows.storage, rows, 5)
    assert damage is not None and damage.path == str(file)
    assert len(load_snapshot(rows.storage, 3, tmp_path)) == 39


def test_without_a_readable_pointer_the_newest_complete_snapshot_is_loaded(rows: ReleaseRows, tmp_path: Path) -> None:
    write_snapshot(rows.storage, rows, 5)
    rows.add(tombstones(["v00"]))
    newest = write_snapshot(rows.storage, rows, 5)
    rows.storage.write(rows.storage.path("releases", "v3", "snapshot.json"), b"")
    assert load_snapshot(rows.storage, 3, tmp_path / "cache").name == newest
    assert mend_snapshot(rows.storage, rows, 5) is not None
    assert mend_snapshot(rows.storage, rows, 5) is None


def test_a_broken_copy_of_an_object_stores_snapshot_is_copied_again(
    tmp_path: Path, s3: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "test")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "test")
    options = f"scheme=http&endpoint_override={s3}&region=us-east-1&allow_bucket_creation=true"
    rows = ReleaseRows(Storage(f"s3://broken/prefix?{options}"), 1)
    rows.add(release_table(release_row("a"), release_row("b")))
    name = write_snapshot(rows.storage, rows, 5)
    load_snapshot(rows.storage, 1, tmp_path)
    (copy,) = tmp_path.glob("*/v1/*/embeddings.npy")
    copy.write_bytes(b"")
    snapshot = load_snapshot(rows.storage, 1, tmp_path)
    assert snapshot.name == name and snapshot.embeddings_ND.any()


def test_a_single_video_has_a_snapshot_without_neighbours(storage: Storage, tmp_path: Path) -> None:
    rows = ReleaseRows(storage, 1)
    rows.add(release_table(release_row("only")))
    write_snapshot(storage, rows, 5)
    snapshot = load_snapshot(storage, 1, tmp_path / "cache")
    assert snapshot.ids == ["only"] and snapshot.neighbours_NK.shape == (1, 0)


def test_the_pointer_describes_the_snapshot_without_loading_it(rows: ReleaseRows) -> None:
    assert snapshot_pointer(rows.storage, 3) is None and kept_versions(rows.storage) == []
    name = write_snapshot(rows.storage, rows, 5)
    pointer = snapshot_pointer(rows.storage, 3)
    assert pointer is not None and json.loads(json.dumps(pointer)) == pointer
    assert (pointer["name"], pointer["upto"], pointer["videos"]) == (name, rows.parts()[-1], 30)
    rows.storage.write(rows.storage.path("releases", "leases", "v4", "1.json"), b"{}")
    assert kept_versions(rows.storage) == [3]
    rows.drop()
    assert kept_versions(rows.storage) == []


def test_without_a_snapshot_or_rows_the_error_names_the_remedy(storage: Storage, tmp_path: Path) -> None:
    with pytest.raises(NoSnapshot, match="`rayreel index --version 9"):
        load_snapshot(storage, 9, tmp_path)
    with pytest.raises(NoSnapshot, match="has no rows"):
        write_snapshot(storage, ReleaseRows(storage, 9), 5)

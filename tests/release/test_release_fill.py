"""Rows to a real Milvus: kills and concurrent writes lose nothing."""

from pathlib import Path

import numpy as np
import pytest

from rayreel.index.config import IndexConfig
from rayreel.index.connect import MilvusClient
from rayreel.index.search import VideoIndex
from rayreel.index.write import delete, make_searchable, stored_versions
from rayreel.release.fill import Difference, fill, index_rows, verify
from rayreel.release.rows import ReleaseRows, tombstones
from rayreel.storage import Storage
from release_rows import DIM, release_row, release_table, unit

CONFIG = IndexConfig(batch_rows=2)
_numbers = iter(range(1000, 2000))


@pytest.fixture
def rows(tmp_path: Path) -> ReleaseRows:
    """Rows a, b and c of a new release."""
    rows = ReleaseRows(Storage(tmp_path), next(_numbers))
    rows.add(release_table(*(release_row(video_id) for video_id in "abc")))
    return rows


def collection(rows: ReleaseRows) -> str:
    return f"videos_v{rows.version}"


def filled(milvus: MilvusClient, rows: ReleaseRows) -> dict[str, str]:
    """Fill the collection and return its ids and versions."""
    fill(milvus, rows, collection(rows), CONFIG)
    make_searchable(milvus, collection(rows), CONFIG)
    return stored_versions(milvus, collection(rows), CONFIG)


def test_a_collection_is_created_with_the_towers_dimension_and_filled(milvus: MilvusClient, rows: ReleaseRows) -> None:
    progress: list[int] = []
    assert fill(milvus, rows, collection(rows), CONFIG, progress.append) == 3
    assert progress == [2, 3, 3]
    make_searchable(milvus, collection(rows), CONFIG)
    (hit,) = VideoIndex(milvus, CONFIG, collection(rows)).search(unit("b 1"), 1)
    assert hit.video_id == "b" and hit.score == pytest.approx(1, abs=1e-5)
    assert rows.marker() == rows.parts()[-1]


def test_only_parts_after_the_marker_are_sent(milvus: MilvusClient, rows: ReleaseRows) -> None:
    filled(milvus, rows)
    assert fill(milvus, rows, collection(rows), CONFIG) == 0
    rows.add(release_table(release_row("b", "2"), release_row("d")))
    rows.add(tombstones(["a", "never there"]))
    assert fill(milvus, rows, collection(rows), CONFIG) == 4
    assert stored_versions(milvus, collection(rows), CONFIG) == {"b": "2", "c": "1", "d": "1"}


def test_a_kill_between_rows_and_milvus_loses_nothing(milvus: MilvusClient, rows: ReleaseRows) -> None:
    filled(milvus, rows)
    rows.add(release_table(release_row("d")))  # killed here: Milvus has not received it
    assert filled(milvus, rows) == rows.current()


def test_a_kill_before_the_marker_moves_repeats_the_part_without_effect(
    milvus: MilvusClient, rows: ReleaseRows
) -> None:
    before = rows.parts()[-1]
    rows.add(release_table(release_row("b", "2")))
    rows.add(tombstones(["a"]))
    expected = filled(milvus, rows)
    for marker in (before, ""):
        rows.set_marker(marker)
        assert filled(milvus, rows) == expected == {"b": "2", "c": "1"}


def test_a_part_written_meanwhile_is_applied_and_the_last_part_wins(milvus: MilvusClient, rows: ReleaseRows) -> None:
    filled(milvus, rows)
    rows.add(release_table(release_row("d")))

    def somebody_deletes(done: int) -> None:
        if rows.current().get("d"):
            rows.add(tombstones(["d"]))

    assert fill(milvus, rows, collection(rows), CONFIG, somebody_deletes) == 2
    assert "d" not in stored_versions(milvus, collection(rows), CONFIG)


def test_a_lost_collection_is_rebuilt_completely(milvus: MilvusClient, rows: ReleaseRows) -> None:
    filled(milvus, rows)
    milvus.drop_collection(collection(rows))
    assert filled(milvus, rows) == rows.current()


def test_verify_finds_and_repairs_missing_stale_and_surplus_rows(milvus: MilvusClient, rows: ReleaseRows) -> None:
    filled(milvus, rows)
    rows.add(tombstones(["c"]))
    rows.set_marker(rows.add(release_table(release_row("b", "2"))))  # the marker claims that Milvus has it
    delete(milvus, collection(rows), ["a"], CONFIG)
    found = verify(milvus, rows, collection(rows), CONFIG, repair=False)
    assert found == Difference(missing={"a"}, stale={"b"}, surplus={"c"})
    assert verify(milvus, rows, collection(rows), CONFIG, repair=True) == found
    assert not any(verify(milvus, rows, collection(rows), CONFIG, repair=False))
    assert stored_versions(milvus, collection(rows), CONFIG) == rows.current() == {"a": "1", "b": "2"}


def test_the_index_receives_every_field_that_it_can_filter_by() -> None:
    row = release_row("a", extra={"views": 3, "duration_s": "long"}, created_at=1.5e9, tags=["x", "y"])
    full, bare = index_rows(release_table(row, release_row("b", created_at=None, duration_s=None)))
    assert full.extra == {"views": 3, "duration_s": 2.5, "created_at": 1.5e9}
    assert bare.extra == {}
    assert (full.version, full.text, full.tags, full.category) == ("1", "film a", ("x", "y"), "c")
    assert full.embedding.shape == (DIM,) and full.embedding.dtype == np.float32

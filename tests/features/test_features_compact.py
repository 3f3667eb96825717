"""Compaction: fewer files with the same rows."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pytest

from feature_rows import KEY, feature_row, feature_table
from rayreel.features.compact import _merge, compact
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage

pytestmark = pytest.mark.usefixtures("ray_cluster")


def quarantined(video_id: str, reason: str, minute: int) -> pa.Table:
    at = datetime(2026, 1, 1, tzinfo=UTC) + timedelta(minutes=minute)
    row = {"video_id": video_id, "version": "1", "stage": "decode", "reason": reason, "at": at}
    return pa.Table.from_pylist([row], schema=QUARANTINE)


@pytest.fixture
def store(tmp_path: Path) -> FeatureStore:
    """Twenty rows in one file each, two of them written twice, and three quarantine rows of one video."""
    store = FeatureStore(Storage(tmp_path), KEY)
    ids = [f"v{n:02}" for n in range(20)]
    for video_id in [*ids, "v03", "v04"]:
        store.add(feature_table(feature_row(video_id)), QUARANTINE.empty_table())
    for minute, reason in enumerate(("timeout", "unreadable", "decoder_crash")):
        store.add(store.schema.empty_table(), quarantined("bad", reason, minute))
    store.set_catalog(sorted(store.done()))
    return store


def files(store: FeatureStore) -> int:
    return sum(len(store.storage.files(folder, ".parquet")) for folder in (store.features, store.quarantine))


def test_compaction_keeps_all_rows_in_fewer_files(store: FeatureStore) -> None:
    before, fingerprint = store.read(), store.fingerprint()
    assert compact(store, rows_per_file=8) == 25
    assert files(store) == 4
    assert store.read().equals(before) and store.fingerprint() == fingerprint


def test_the_latest_quarantine_row_of_a_video_is_kept(store: FeatureStore) -> None:
    assert store.quarantined()["reason"].to_pylist() == ["decoder_crash"]
    compact(store)
    assert store.quarantined()["reason"].to_pylist() == ["decoder_crash"]


def test_compacting_a_compact_store_does_nothing(store: FeatureStore) -> None:
    compact(store)
    assert compact(store) == 0


def test_a_kill_between_writing_and_deleting_neither_loses_nor_duplicates_rows(store: FeatureStore) -> None:
    before = store.read()
    merged = pa.concat_tables(store.table(path) for path in store.storage.files(store.features, ".parquet"))
    store.write_part(store.features, merged)
    assert store.read().equals(before)


def test_an_extracted_video_leaves_quarantine(store: FeatureStore) -> None:
    store.add(feature_table(feature_row("bad", version="1")), QUARANTINE.empty_table())
    assert store.quarantined().num_rows == 0


def test_files_being_merged_by_another_compaction_are_skipped(store: FeatureStore) -> None:
    paths = store.storage.files(store.features, ".parquet")
    assert _merge(store, store.features, [*paths[:3], f"{store.features}/gone.parquet"]) == 0
    assert store.storage.files(store.features, ".parquet") == paths

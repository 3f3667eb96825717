"""Milvus Lite's collections under concurrent writes and reads, as they are and as they are patched."""

import shutil
from collections.abc import Callable
from pathlib import Path
from threading import Thread

import pytest
from milvus_lite import Collection, CollectionSchema, DataType, FieldSchema
from milvus_lite.storage.wal import WAL

from rayreel.compat.milvus_collection import SafeCollection

SCHEMA = CollectionSchema(
    [FieldSchema("id", DataType.VARCHAR, is_primary=True), FieldSchema("vector", DataType.FLOAT_VECTOR, dim=2)]
)
MENDED = "Milvus Lite mends this now: remove rayreel/compat/milvus_collection.py"


def opened(kind: type[Collection], folder: Path) -> Collection:
    folder.mkdir(exist_ok=True)
    collection = kind("videos", str(folder), SCHEMA)
    if not collection.has_index("vector"):
        collection.create_index("vector", {"index_type": "FLAT", "metric_type": "IP", "params": {}})
    collection.load()
    return collection


def row(name: str) -> dict[str, object]:
    return {"id": name, "vector": [1.0, 0.0]}


class FlushAfter:
    """A call of a collection, after which another thread flushes. A lock may block that: the call waits a while."""

    def __init__(self, call: Callable[..., object], collection: Collection, patience_s: float) -> None:
        self._call, self._patience_s = call, patience_s
        self.flush = Thread(target=collection.flush, daemon=True)

    def __call__(self, *args: object) -> object:
        result = self._call(*args)
        self.flush.start()
        self.flush.join(self._patience_s)
        return result


def found_after_a_crash(
    kind: type[Collection], folder: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> list[str]:
    """Insert `b` while another thread flushes, and return the ids that a restart after a crash finds."""
    collection = opened(kind, folder / "data")
    collection.insert([row("a")])
    with monkeypatch.context() as patch:
        log = FlushAfter(collection._wal.write_insert, collection, patience_s)
        patch.setattr(WAL, "write_insert", lambda _, batch: log(batch))
        collection.insert([row("b")])
    log.flush.join()
    collection._wait_for_bg()  # a file that is copied while it is written is not one of a crash
    shutil.copytree(folder / "data", folder / "crashed")
    return [found["id"] for found in opened(kind, folder / "crashed").get(["a", "b"])]


def test_upstream_loses_a_row_that_is_written_during_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_after_a_crash(Collection, tmp_path, monkeypatch, patience_s=60) == ["a"], MENDED


def test_a_row_that_is_written_during_a_flush_survives_a_crash(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_after_a_crash(SafeCollection, tmp_path, monkeypatch, patience_s=0.5) == ["a", "b"]


def found_during_a_flush(
    kind: type[Collection], folder: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> int:
    """Return how many of one row a search finds during which another thread flushes."""
    collection = opened(kind, folder)
    collection.insert([row("a")])
    snapshot = FlushAfter(collection._read_snapshot, collection, patience_s)
    monkeypatch.setattr(collection, "_read_snapshot", snapshot)
    (hits,) = collection.search([[1.0, 0.0]], top_k=1)
    snapshot.flush.join()
    return len(hits)


def test_upstream_misses_rows_in_a_search_during_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_during_a_flush(Collection, tmp_path, monkeypatch, patience_s=60) == 0, MENDED


def test_a_search_during_a_flush_finds_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_during_a_flush(SafeCollection, tmp_path, monkeypatch, patience_s=0.5) == 1

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


def flushing_after(call: Callable[..., object], collection: Collection, patience_s: float) -> Callable[..., object]:
    """Wrap a call of a collection: after it, another thread flushes, which a lock may block for now."""

    def called(*args: object) -> object:
        result = call(*args)
        flush = Thread(target=collection.flush, daemon=True)
        flush.start()
        flush.join(patience_s)
        return result

    return called


def found_after_a_crash(
    kind: type[Collection], folder: Path, monkeypatch: pytest.MonkeyPatch, patience_s: float
) -> list[str]:
    """Insert `b` while another thread flushes, and return the ids that a restart after a crash finds."""
    collection = opened(kind, folder / "data")
    collection.insert([row("a")])
    with monkeypatch.context() as patch:
        log = flushing_after(collection._wal.write_insert, collection, patience_s)
        patch.setattr(WAL, "write_insert", lambda _, batch: log(batch))
        collection.insert([row("b")])
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
    snapshot = flushing_after(collection._read_snapshot, collection, patience_s)
    monkeypatch.setattr(collection, "_read_snapshot", snapshot)
    (hits,) = collection.search([[1.0, 0.0]], top_k=1)
    return len(hits)


def test_upstream_misses_rows_in_a_search_during_a_flush(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_during_a_flush(Collection, tmp_path, monkeypatch, patience_s=60) == 0, MENDED


def test_a_search_during_a_flush_finds_all_rows(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    assert found_during_a_flush(SafeCollection, tmp_path, monkeypatch, patience_s=0.5) == 1

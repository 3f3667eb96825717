"""Milvus Lite, made fit for several clients at once.

Milvus Lite 3.2.2 serves ten requests at a time and leaves it to its user that a collection has one writer: of six that
wrote beside a flush, 20 of 2600 acknowledged rows were gone after a crash. Between the old memory table and its file, a
search misses what is in neither. A filter by a JSON or array column turns all columns of every row into Python values,
embeddings included, and again for every search. And HNSW meets few of the rows that pass a strict filter (7 of the ten
nearest among 1 of 100 rows, at 20 000), where a server compares those rows one by one.
"""

import threading
import time
import weakref
from collections import OrderedDict
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import faiss
import milvus_lite.db
import milvus_lite.search.filter.eval as evaluation
import milvus_lite.search.indexed_filter as segment_filter
from milvus_lite.adapter.grpc.servicer import MilvusServicer
from milvus_lite.db import MilvusLite
from milvus_lite.engine.collection import Collection
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex
from pymilvus.grpc_gen import milvus_pb2

_by_rows = evaluation.evaluate_python
_of_segment = segment_filter.evaluate_segment_filter
_walk = FaissHnswIndex.search

# At a quarter HNSW still finds all of the nearest, and comparing that many costs no more than the walk.
COMPARED_SHARE = 0.25


class ReadWriteLock:
    """Many may pass at a time, or one alone; who waits to be alone goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._inside = 0
        self._waiting = 0

    @contextmanager
    def shared(self) -> Iterator[None]:
        """Pass together with others."""
        with self._changed:
            self._changed.wait_for(lambda: not self._waiting)
            self._inside += 1
        try:
            yield
        finally:
            with self._changed:
                self._inside -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self) -> Iterator[None]:
        """Pass when everyone else has left; nobody enters meanwhile. One caller at a time."""
        with self._changed:
            self._waiting += 1
            self._changed.wait_for(lambda: not self._inside)
        try:
            yield
        finally:
            with self._changed:
                self._waiting -= 1
                self._changed.notify_all()


class SafeCollection(Collection):  # type: ignore[misc]
    """One write at a time, and no read while the memory table is being written down."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        self._writing = threading.RLock()
        self._read_write = ReadWriteLock()
        super().__init__(*args, **options)

    def insert(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When no other write is under way."""
        with self._writing:
            return super().insert(*args, **options)

    def upsert(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When no other write is under way."""
        with self._writing:
            return super().upsert(*args, **options)

    def delete(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When no other write is under way."""
        with self._writing:
            return super().delete(*args, **options)

    def flush(self) -> None:
        """When no write is under way."""
        with self._writing:
            super().flush()

    def search(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When nothing is being written down."""
        with self._read_write.shared():
            return super().search(*args, **options)

    def query(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When nothing is being written down."""
        with self._read_write.shared():
            return super().query(*args, **options)

    def get(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """When nothing is being written down."""
        with self._read_write.shared():
            return super().get(*args, **options)

    def _num_entities(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        with self._read_write.shared():
            return super()._num_entities(*args, **options)

    def _trigger_flush(self) -> None:
        with self._read_write.alone():
            super()._trigger_flush()


class Servicer(MilvusServicer):  # type: ignore[misc]
    """With the one call that pymilvus makes for an index and Milvus Lite answers by a traceback in its log."""

    def AllocTimestamp(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        """Give the time as Milvus counts it: milliseconds, and 18 bits of a counter."""
        return milvus_pb2.AllocTimestampResponse(timestamp=int(time.time() * 1000) << 18)


class Masks:
    """Which rows of a segment pass a filter, kept for the filters asked last; a segment never changes."""

    def __init__(self, most: int = 128) -> None:
        self._most = most
        self._kept: OrderedDict[tuple[int, str], tuple[weakref.ref[Any], Any]] = OrderedDict()
        self._changing = threading.Lock()

    def of_segment(self, segment: Any, compiled: Any, plan: Any) -> Any:  # noqa: ANN401
        """As `milvus_lite.search.indexed_filter.evaluate_segment_filter`, which it stands for."""
        key = id(segment.table), compiled.source
        with self._changing:
            table, mask = self._kept.get(key, (None, None))
        if table is None or table() is not segment.table:
            mask = _of_segment(segment, compiled, plan)
            with self._changing:
                self._kept[key] = weakref.ref(segment.table), mask
                if len(self._kept) > self._most:
                    self._kept.popitem(last=False)
        return mask


def open_database(data_dir: str) -> MilvusLite:
    """Open a directory whose collections are safe, in this process, for as long as it lives."""
    milvus_lite.db.Collection = SafeCollection
    FaissHnswIndex.search = _search
    evaluation.evaluate_python = _by_used_columns
    segment_filter.evaluate_segment_filter = Masks().of_segment
    return MilvusLite(data_dir)


def _search(index: Any, queries: Any, top_k: int, valid_mask: Any = None, params: Any = None) -> Any:  # noqa: ANN401
    """As `FaissHnswIndex.search`, exact where few rows are valid."""
    if valid_mask is None or valid_mask.mean() > COMPARED_SHARE:
        return _walk(index, queries, top_k, valid_mask, params)
    stored: Any = faiss.downcast_index(index._index.storage)
    vectors_ND = faiss.rev_swig_ptr(stored.get_xb(), index.num_vectors * index.dim).reshape(-1, index.dim)
    return BruteForceIndex.build(vectors_ND, index.metric).search(queries, top_k, valid_mask)


def _by_used_columns(compiled: Any, data: Any) -> Any:  # noqa: ANN401
    return _by_rows(compiled, data.select(list(compiled.fields)))

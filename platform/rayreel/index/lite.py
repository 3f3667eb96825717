"""Milvus Lite, patched for several concurrent clients.

Milvus Lite 3.2.2 serves ten requests at a time but expects one writer per collection: with six writers during a flush,
20 of 2600 acknowledged rows were lost after a crash. While a memory table is being written to its file, a search misses
its rows. A filter on a JSON or array column converts all columns of every row, embeddings included, to Python values,
again for every search. And HNSW finds too few rows under a strict filter (7 of the ten nearest if 1 of 100 rows
passes, of 20,000), where the server compares those rows one by one.
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

# The original functions, which `open_database` replaces.
_evaluate_rows = evaluation.evaluate_python
_evaluate_segment = segment_filter.evaluate_segment_filter
_search_hnsw = FaissHnswIndex.search

# Up to this share of valid rows, comparing them costs no more than HNSW, which above it still finds all of the nearest.
EXACT_SHARE = 0.25


class ReadWriteLock:
    """Many readers or one writer at a time; a waiting writer goes first."""

    def __init__(self) -> None:
        self._changed = threading.Condition()
        self._readers = 0
        self._writers = 0

    @contextmanager
    def read(self) -> Iterator[None]:
        """Hold the lock together with other readers."""
        with self._changed:
            self._changed.wait_for(lambda: not self._writers)
            self._readers += 1
        try:
            yield
        finally:
            with self._changed:
                self._readers -= 1
                self._changed.notify_all()

    @contextmanager
    def write(self) -> Iterator[None]:
        """Hold the lock alone: wait for the readers, and block new ones. Not for concurrent writers."""
        with self._changed:
            self._writers += 1
            self._changed.wait_for(lambda: not self._readers)
        try:
            yield
        finally:
            with self._changed:
                self._writers -= 1
                self._changed.notify_all()


class SafeCollection(Collection):  # type: ignore[misc]
    """A collection with one write at a time, and no reads while the memory table is written to disk."""

    def __init__(self, *args: Any, **options: Any) -> None:  # noqa: ANN401
        self._writing = threading.RLock()
        self._flush_lock = ReadWriteLock()
        super().__init__(*args, **options)

    def insert(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Insert when no other write is running."""
        with self._writing:
            return super().insert(*args, **options)

    def upsert(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Upsert when no other write is running."""
        with self._writing:
            return super().upsert(*args, **options)

    def delete(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Delete when no other write is running."""
        with self._writing:
            return super().delete(*args, **options)

    def flush(self) -> None:
        """Flush when no write is running."""
        with self._writing:
            super().flush()

    def search(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Search while no memory table is written to disk."""
        with self._flush_lock.read():
            return super().search(*args, **options)

    def query(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Query while no memory table is written to disk."""
        with self._flush_lock.read():
            return super().query(*args, **options)

    def get(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        """Get rows while no memory table is written to disk."""
        with self._flush_lock.read():
            return super().get(*args, **options)

    def _num_entities(self, *args: Any, **options: Any) -> Any:  # noqa: ANN401
        with self._flush_lock.read():
            return super()._num_entities(*args, **options)

    def _trigger_flush(self) -> None:
        with self._flush_lock.write():
            super()._trigger_flush()


class Servicer(MilvusServicer):  # type: ignore[misc]
    """Milvus Lite's service, plus a call that pymilvus makes for an index; without it Milvus Lite logs a traceback."""

    def AllocTimestamp(self, request: Any, context: Any) -> Any:  # noqa: ANN401
        """Return the time in Milvus' format: milliseconds, then 18 bits for a counter."""
        return milvus_pb2.AllocTimestampResponse(timestamp=int(time.time() * 1000) << 18)


class FilterMasks:
    """Cache of which rows of a segment pass a filter; the oldest are dropped. Segments are immutable."""

    def __init__(self, max_masks: int = 128) -> None:
        self._max_masks = max_masks
        self._masks: OrderedDict[tuple[int, str], tuple[weakref.ref[Any], Any]] = OrderedDict()
        self._lock = threading.Lock()

    def of_segment(self, segment: Any, compiled: Any, plan: Any) -> Any:  # noqa: ANN401
        """Replace `milvus_lite.search.indexed_filter.evaluate_segment_filter`."""
        key = id(segment.table), compiled.source
        with self._lock:
            table, mask = self._masks.get(key, (None, None))
        if table is None or table() is not segment.table:
            mask = _evaluate_segment(segment, compiled, plan)
            with self._lock:
                self._masks[key] = weakref.ref(segment.table), mask
                if len(self._masks) > self._max_masks:
                    self._masks.popitem(last=False)
        return mask


def open_database(data_dir: str) -> MilvusLite:
    """Open a directory. Patches Milvus Lite in this process so that collections are thread-safe and filters fast."""
    milvus_lite.db.Collection = SafeCollection
    FaissHnswIndex.search = _search
    evaluation.evaluate_python = _evaluate_used_columns
    segment_filter.evaluate_segment_filter = FilterMasks().of_segment
    return MilvusLite(data_dir)


def _search(index: Any, queries: Any, top_k: int, valid_mask: Any = None, params: Any = None) -> Any:  # noqa: ANN401
    """Search like `FaissHnswIndex.search`, but exactly if few rows are valid."""
    if valid_mask is None or valid_mask.mean() > EXACT_SHARE:
        return _search_hnsw(index, queries, top_k, valid_mask, params)
    stored: Any = faiss.downcast_index(index._index.storage)
    vectors_ND = faiss.rev_swig_ptr(stored.get_xb(), index.num_vectors * index.dim).reshape(-1, index.dim)
    return BruteForceIndex.build(vectors_ND, index.metric).search(queries, top_k, valid_mask)


def _evaluate_used_columns(compiled: Any, data: Any) -> Any:  # noqa: ANN401
    return _evaluate_rows(compiled, data.select(list(compiled.fields)))

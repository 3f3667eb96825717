"""Milvus Lite's filters and its HNSW search under a filter, made fast and exact."""

import threading
import weakref
from collections import OrderedDict
from typing import Any

import faiss
import milvus_lite.search.filter.eval as evaluation
import milvus_lite.search.indexed_filter as segment_filter
from milvus_lite.index.brute_force import BruteForceIndex
from milvus_lite.index.faiss_hnsw import FaissHnswIndex

# The functions that the patches replace.
evaluate_rows = evaluation.evaluate_python
evaluate_segment = segment_filter.evaluate_segment_filter
search_hnsw = FaissHnswIndex.search

# Up to this share of valid rows, comparing them costs no more than HNSW, which above it still finds all of the nearest.
EXACT_SHARE = 0.25


def read_used_columns() -> None:
    """Patch Milvus Lite to read only the columns that a filter names.

    For a filter on a JSON or array column, Milvus Lite 3.2.2 converts all columns of every row, embeddings included, to
    Python values. Can go once it selects the columns itself.
    """
    evaluation.evaluate_python = _evaluate_used_columns


def keep_masks() -> None:
    """Patch Milvus Lite to evaluate a filter once per segment.

    Milvus Lite 3.2.2 evaluates it again for every search, although segments are immutable. Can go once it caches.
    """
    segment_filter.evaluate_segment_filter = FilterMasks().of_segment


def search_few_exactly() -> None:
    """Patch Milvus Lite to compare the rows one by one if few pass a filter, as the Milvus server does.

    HNSW of Milvus Lite 3.2.2 finds too few rows under a strict filter: 7 of the ten nearest if 1 of 100 rows passes, of
    20,000. Can go once it finds them all.
    """
    FaissHnswIndex.search = _search


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
            mask = evaluate_segment(segment, compiled, plan)
            with self._lock:
                self._masks[key] = weakref.ref(segment.table), mask
                if len(self._masks) > self._max_masks:
                    self._masks.popitem(last=False)
        return mask


def _search(index: Any, queries: Any, top_k: int, valid_mask: Any = None, params: Any = None) -> Any:  # noqa: ANN401
    """Search like `FaissHnswIndex.search`, but exactly if few rows are valid."""
    if valid_mask is None or valid_mask.mean() > EXACT_SHARE:
        return search_hnsw(index, queries, top_k, valid_mask, params)
    stored: Any = faiss.downcast_index(index._index.storage)
    vectors_ND = faiss.rev_swig_ptr(stored.get_xb(), index.num_vectors * index.dim).reshape(-1, index.dim)
    return BruteForceIndex.build(vectors_ND, index.metric).search(queries, top_k, valid_mask)


def _evaluate_used_columns(compiled: Any, data: Any) -> Any:  # noqa: ANN401
    return evaluate_rows(compiled, data.select(list(compiled.fields)))

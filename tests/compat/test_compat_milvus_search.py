"""Milvus Lite's filters and HNSW search, as they are."""

from collections.abc import Callable, Iterable
from types import SimpleNamespace

import numpy as np
import pyarrow as pa
import pytest
from milvus_lite import CollectionSchema, DataType, FieldSchema
from milvus_lite.index.faiss_hnsw import FaissHnswIndex
from milvus_lite.search import filter as filters
from numpy.typing import NDArray

from rayreel.compat import milvus_search

SCHEMA = CollectionSchema(
    [
        FieldSchema("id", DataType.VARCHAR, is_primary=True),
        FieldSchema("vector", DataType.FLOAT_VECTOR, dim=2),
        FieldSchema("extra", DataType.JSON),
    ]
)
TABLE = pa.table({"id": ["a", "b"], "vector": [[1.0, 0.0], [0.0, 1.0]], "extra": ['{"n": 7}', '{"n": 8}']})
MENDED = "Milvus Lite mends this now: remove rayreel.compat.milvus_search."


def compiled() -> filters.CompiledExpr:
    found = filters.compile_filter('extra["n"] == 7', SCHEMA)
    assert found.backend == "python"
    return found


class ReadTable:
    """A table that records which of its columns are converted to Python values."""

    num_rows = TABLE.num_rows

    def __init__(self, columns: list[str] = TABLE.column_names) -> None:
        self.columns = columns
        self.converted: list[str] = []

    def select(self, columns: list[str]) -> "ReadTable":
        self.converted = columns
        return ReadTable(columns)

    def to_pylist(self) -> list[dict[str, object]]:
        self.converted = self.columns
        rows: list[dict[str, object]] = TABLE.select(self.columns).to_pylist()
        return rows


def test_upstream_converts_all_columns_for_a_filter_on_one() -> None:
    table = ReadTable()
    assert milvus_search.evaluate_rows(compiled(), table).to_pylist() == [True, False]
    assert table.converted == ["id", "vector", "extra"], f"{MENDED}read_used_columns"


def test_a_filter_converts_only_its_columns() -> None:
    table = ReadTable()
    assert milvus_search._evaluate_used_columns(compiled(), table).to_pylist() == [True, False]
    assert table.converted == ["extra"]


def evaluations(evaluate: Callable[..., Iterable[bool]], monkeypatch: pytest.MonkeyPatch) -> int:
    """Return how often two searches with one filter evaluate it on one segment."""
    calls: list[object] = []
    original = filters.evaluate_mask

    def evaluate_mask(*args: object) -> NDArray[np.bool_]:
        calls.append(args)
        mask: NDArray[np.bool_] = original(*args)
        return mask

    monkeypatch.setattr(filters, "evaluate_mask", evaluate_mask)
    segment = SimpleNamespace(table=TABLE, scalar_indexes={})
    for _ in range(2):
        assert list(evaluate(segment, compiled(), None)) == [True, False]
    return len(calls)


def test_upstream_evaluates_a_filter_again_for_every_search(monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluations(milvus_search.evaluate_segment, monkeypatch) == 2, f"{MENDED}keep_masks"


def test_a_filter_is_evaluated_once_per_segment(monkeypatch: pytest.MonkeyPatch) -> None:
    assert evaluations(milvus_search.FilterMasks().of_segment, monkeypatch) == 1


def recall(search: Callable[..., tuple[NDArray[np.int64], NDArray[np.float32]]]) -> float:
    """Return the share of the ten nearest that HNSW finds if 1 of 100 rows passes a filter."""
    rng = np.random.default_rng(3)
    vectors, queries = rng.normal(size=(2000, 32)).astype(np.float32), rng.normal(size=(20, 32)).astype(np.float32)
    valid = np.arange(len(vectors)) % 100 == 7
    found, _ = search(FaissHnswIndex.build(vectors, "IP", {}), queries, 10, valid)
    scores = np.where(valid, queries @ vectors.T, -np.inf)
    nearest = np.argsort(-scores, axis=1)[:, :10]
    return float(np.mean([len(set(a) & set(b)) / 10 for a, b in zip(found, nearest, strict=True)]))


def test_upstream_finds_too_few_rows_under_a_strict_filter() -> None:
    assert recall(milvus_search.search_hnsw) < 0.9, f"{MENDED}search_few_exactly"


def test_a_search_under_a_strict_filter_finds_all_of_the_nearest() -> None:
    assert recall(milvus_search._search) == 1

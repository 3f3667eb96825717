from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from conftest import Fill
from rayreel.index.config import IndexConfig
from rayreel.index.verify import check_count, check_probes, recall
from rayreel.index.write import IndexBroken, IndexRow, upsert


def exact(rows: list[IndexRow], queries_QD: np.ndarray, k: int) -> list[list[str]]:
    scores_QN = queries_QD @ np.stack([row.embedding for row in rows]).T
    return [[rows[n].video_id for n in order[:k]] for order in np.argsort(-scores_QN, axis=1)]


def embeddings(rows: list[IndexRow]) -> np.ndarray:
    return np.stack([row.embedding for row in rows])


@pytest.fixture(scope="module")
def collection(rows: list[IndexRow], fill: Fill) -> str:
    return fill(1, rows)


@pytest.mark.parametrize("expected", [299, 301, 0])
def test_a_wrong_row_count_is_refused(
    client: MilvusClient, config: IndexConfig, collection: str, expected: int
) -> None:
    check_count(client, collection, 300, config)
    with pytest.raises(IndexBroken, match="300"):
        check_count(client, collection, expected, config)


def test_an_empty_index_is_never_a_release(client: MilvusClient, config: IndexConfig, fill: Fill) -> None:
    with pytest.raises(IndexBroken):
        check_count(client, fill(2, []), 0, config)


def test_probes_that_are_stored_and_find_themselves_pass(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], collection: str
) -> None:
    check_probes(client, collection, {row.video_id: row.embedding for row in rows[::3]}, config)


@pytest.mark.parametrize("other", [1, 2.0])
def test_a_stored_vector_that_is_another_or_longer_is_noticed(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill, other: float
) -> None:
    collection = fill(3, rows[:50])
    wrong = rows[1].embedding if other == 1 else other * rows[0].embedding
    upsert(client, collection, [replace(rows[0], embedding=wrong)], config)
    with pytest.raises(IndexBroken, match=r"1 of 2 .* are not stored as they were sent \(first: 'v0'\)"):
        check_probes(client, collection, {row.video_id: row.embedding for row in rows[:2]}, config)


def test_a_page_of_exact_duplicates_is_no_fault(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    same = [replace(rows[0], video_id=f"copy{n}") for n in range(40)]
    collection = fill(4, same)
    check_probes(client, collection, {row.video_id: row.embedding for row in same}, config)
    ids = [[row.video_id for row in same[-10:]]]
    assert recall(client, collection, embeddings(rows[:1]), ids, config) == 1.0


def test_recall_is_one_where_the_index_finds_what_exact_search_finds(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], collection: str
) -> None:
    queries_QD = embeddings(rows)
    assert recall(client, collection, queries_QD, exact(rows, queries_QD, 10), config) >= 0.99


def test_recall_falls_by_what_the_index_lacks(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], collection: str
) -> None:
    queries_QD = embeddings(rows[:20])
    strangers = [[f"stranger{n}" for n in range(3)] + ids[:7] for ids in exact(rows, queries_QD, 10)]
    assert recall(client, collection, queries_QD, strangers, config) == pytest.approx(0.7, abs=0.01)
    assert recall(client, collection, queries_QD, [["nobody"]] * 20, config) == 0

from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from index_filling import Fill
from rayreel.index.config import IndexConfig
from rayreel.index.verify import recall
from rayreel.index.write import IndexRow


def exact(rows: list[IndexRow], queries_QD: np.ndarray, k: int) -> list[list[str]]:
    scores_QN = queries_QD @ np.stack([row.embedding for row in rows]).T
    return [[rows[n].video_id for n in order[:k]] for order in np.argsort(-scores_QN, axis=1)]


def embeddings(rows: list[IndexRow]) -> np.ndarray:
    return np.stack([row.embedding for row in rows])


@pytest.fixture(scope="module")
def collection(rows: list[IndexRow], fill: Fill) -> str:
    return fill(1, rows)


def test_exact_duplicates_do_not_lower_recall(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    same = [replace(rows[0], video_id=f"copy{n}") for n in range(40)]
    collection = fill(4, same)
    ids = [[row.video_id for row in same[-10:]]]
    assert recall(client, collection, embeddings(rows[:1]), ids, config) == 1.0


def test_recall_is_nearly_one_if_the_index_agrees_with_exact_search(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], collection: str
) -> None:
    queries_QD = embeddings(rows)
    assert recall(client, collection, queries_QD, exact(rows, queries_QD, 10), config) >= 0.99


def test_recall_falls_by_the_share_of_missing_videos(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], collection: str
) -> None:
    queries_QD = embeddings(rows[:20])
    unknown = [[f"unknown{n}" for n in range(3)] + ids[:7] for ids in exact(rows, queries_QD, 10)]
    assert recall(client, collection, queries_QD, unknown, config) == pytest.approx(0.7, abs=0.01)
    assert recall(client, collection, queries_QD, [["unknown"]] * 20, config) == 0

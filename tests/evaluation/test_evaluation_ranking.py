import tracemalloc

import numpy as np
import pytest
from scipy import sparse

from rayreel.evaluation.metrics import NO_ITEM, per_query, precision
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.retrieval import ItemTask
from rayreel.evaluation.scorers import Scorer, by_chance, by_embedding, by_history, by_value
from rayreel.evaluation.users import UserQueries, UserTask


def alone(count: int) -> list[str]:
    return [f"g{n}" for n in range(count)]


def fixed(scores: np.ndarray) -> Scorer:
    return lambda candidates: lambda queries: scores[queries][:, candidates]


def test_candidates_are_ranked_by_descending_score_without_the_query() -> None:
    scores = np.array([[9.0, 0.1, 0.8, 0.7, 0.2]] * 5, dtype=np.float32)
    task = ItemTask.of(np.array([0]), np.arange(5), ["a", "a", "b", "a", "b"], alone(5))
    found = rank(task, fixed(scores), 5)
    assert found.items_QK.tolist() == [[2, 3, 4, 1, NO_ITEM]]
    assert found.hits_QK.tolist() == [[False, True, False, True, False]]
    assert found.relevant_Q.tolist() == [2]


def test_the_ranking_agrees_with_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    scores = rng.random((50, 50), dtype=np.float32)
    categories = [f"c{n % 4}" for n in range(50)]
    found = rank(ItemTask.of(np.arange(50), np.arange(50), categories, alone(50)), fixed(scores), 7)
    np.fill_diagonal(scores, -1)
    np.testing.assert_array_equal(found.items_QK, np.argsort(-scores, axis=1)[:, :7])


def test_constant_scores_rank_no_better_than_chance() -> None:
    categories = [f"c{n}" for n in np.repeat(np.arange(20), 20)]  # sorted, as catalogs are
    task = ItemTask.of(np.arange(400), np.arange(400), categories, alone(400))
    found = rank(task, by_value(np.zeros(400, np.float32)), 10)
    assert precision(found, 10).mean() == pytest.approx(19 / 399, abs=0.02)


def test_candidates_with_nan_scores_are_not_ranked() -> None:
    scores = np.array([[np.nan, np.nan, 0.5, np.nan]] * 4, dtype=np.float32)
    task = ItemTask.of(np.array([0]), np.arange(4), ["a"] * 4, alone(4))
    assert rank(task, fixed(scores), 3).items_QK.tolist() == [[2, NO_ITEM, NO_ITEM]]


@pytest.mark.parametrize("cells", [1, 350])
def test_the_ranking_does_not_depend_on_the_chunk_size(cells: int) -> None:
    categories = [f"c{n % 4}" for n in range(50)]
    task = ItemTask.of(np.arange(50), np.arange(50), categories, alone(50))
    for whole, parts in zip(
        *(per_query(rank(task, by_chance(), 5, **size), [5]).values() for size in ({}, {"cells": cells})), strict=True
    ):
        np.testing.assert_array_equal(whole, parts)


def test_ranking_does_not_modify_the_scorers_array() -> None:
    scores = np.ones((3, 3), np.float32)
    task = ItemTask.of(np.arange(3), np.arange(3), ["a"] * 3, alone(3))
    rank(task, lambda _: lambda queries: scores[queries], 2)
    assert (scores == 1).all()


def test_ranking_memory_is_far_below_users_times_videos() -> None:
    users = videos = 6000  # all scores at once: 144 MB
    rng = np.random.default_rng(0)
    z = rng.normal(size=(videos, 8)).astype(np.float32)
    seen = np.stack([rng.choice(videos, 4, replace=False) for _ in range(users)])
    user_queries = UserQueries(seen[:, 3], np.arange(users + 1) * 3, seen[:, :3].ravel())
    task = UserTask.of(user_queries, np.arange(videos), videos)
    tracemalloc.start()
    try:
        found = rank(task, task.by(z), 10, cells=2**20)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert found.items_QK.shape == (users, 10)
    assert peak < 40e6


def test_embeddings_score_by_cosine() -> None:
    z = np.array([[1, 0], [0.6, 0.8], [0, 1]], dtype=np.float32)
    scores = by_embedding(z)(np.array([2, 0]))(np.array([1, 0]))
    np.testing.assert_allclose(scores, [[0.8, 0.6], [0.0, 1.0]], atol=1e-6)


def test_dense_and_sparse_vectors_give_the_same_scores() -> None:
    z = np.random.default_rng(0).random((5, 3), dtype=np.float32)
    weights = sparse.csr_array(np.array([[0.5, 0.5, 0, 0, 0], [0, 0, 0, 0, 1]], np.float32))
    queries, candidates = np.array([1, 0]), np.array([4, 2, 0])
    thin_z = sparse.csr_array(z)
    for scorers in ((by_embedding(z), by_embedding(thin_z)), (by_history(z, weights), by_history(thin_z, weights))):
        dense, thin = (scorer(candidates)(queries) for scorer in scorers)
        np.testing.assert_allclose(dense, thin, rtol=1e-5)


def test_a_user_vector_is_the_normalised_mean_of_their_history() -> None:
    z = np.array([[1, 0], [0, 1], [0.6, 0.8]], dtype=np.float32)
    weights = sparse.csr_array(np.array([[0.5, 0.5, 0]], np.float32))
    scores = by_history(z, weights)(np.arange(3))(np.array([0]))
    np.testing.assert_allclose(scores, [[0.5**0.5, 0.5**0.5, 1.4 * 0.5**0.5]], rtol=1e-5)


def test_random_scores_of_a_query_do_not_depend_on_other_queries() -> None:
    score, candidates = by_chance(), np.arange(20)
    np.testing.assert_array_equal(score(candidates)(np.array([3, 7]))[1], score(candidates)(np.array([7]))[0])
    assert not np.array_equal(score(candidates)(np.array([3])), score(candidates)(np.array([7])))
    assert not np.array_equal(by_chance(seed=1)(candidates)(np.array([3])), score(candidates)(np.array([3])))

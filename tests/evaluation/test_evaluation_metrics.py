import math

import numpy as np
import pytest

from rayreel.evaluation.metrics import METRICS, Ranked, ndcg, precision, rank, recall

SCORES = np.array([[0.9, 0.1, 0.8, 0.7, 0.2]], dtype=np.float32)  # order 0 2 3 4 1
RELEVANT = np.array([[True, True, False, True, False]])
ALL = np.ones((1, 5), dtype=bool)


def ranked(k: int, allowed: np.ndarray = ALL) -> Ranked:
    return rank(SCORES, RELEVANT, allowed, k)


def test_candidates_are_ranked_by_falling_score() -> None:
    assert ranked(5).hits_QK.tolist() == [[True, False, True, False, True]]
    assert ranked(5).relevant_Q.tolist() == [3]


def test_recall_is_the_share_of_the_relevant_that_is_found() -> None:
    assert [recall(ranked(5), k)[0] for k in (1, 2, 3, 5)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])


def test_precision_is_the_share_of_the_shown_that_is_relevant() -> None:
    assert [precision(ranked(5), k)[0] for k in (1, 2, 3, 5)] == pytest.approx([1, 1 / 2, 2 / 3, 3 / 5])


def test_ndcg_is_the_one_worked_out_by_hand() -> None:
    found = 1 + 1 / math.log2(4)
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranked(5), 3)[0] == pytest.approx(found / best)


def test_ndcg_at_k_is_one_when_all_k_are_relevant_though_more_were() -> None:
    assert ndcg(ranked(5), 1)[0] == 1


def test_excluded_candidates_are_neither_hits_nor_wanted_and_take_nobodys_place() -> None:
    allowed = np.array([[False, True, True, True, True]])
    assert ranked(4, allowed).hits_QK.tolist() == [[False, True, False, True]]
    assert ranked(4, allowed).relevant_Q.tolist() == [2]


def test_excluded_candidates_are_no_hits_even_where_they_fill_up_the_list() -> None:
    allowed = np.array([[False, False, True, False, False]])
    shown = rank(SCORES, RELEVANT | True, allowed, 5)
    assert shown.hits_QK.tolist() == [[True, False, False, False, False]]
    assert shown.relevant_Q.tolist() == [1]


def test_with_fewer_candidates_than_k_all_are_ranked_and_precision_still_counts_k() -> None:
    shown = ranked(10)
    assert shown.hits_QK.shape == (1, 5)
    assert recall(shown, 10)[0] == 1
    assert precision(shown, 10)[0] == pytest.approx(3 / 10)
    discount = [1 / math.log2(place + 2) for place in range(5)]
    assert ndcg(shown, 10)[0] == pytest.approx((discount[0] + discount[2] + discount[4]) / sum(discount[:3]))


def test_every_query_is_measured_by_itself() -> None:
    scores = np.array([[3, 2, 1], [1, 2, 3]], dtype=np.float32)
    relevant = np.array([[True, False, False], [True, False, False]])
    shown = rank(scores, relevant, np.ones((2, 3), dtype=bool), 2)
    assert recall(shown, 2).tolist() == [1, 0]
    assert ndcg(shown, 2).tolist() == [1, 0]


def test_the_ranking_agrees_with_a_full_sort() -> None:
    rng = np.random.default_rng(0)
    scores, relevant = rng.random((20, 50), dtype=np.float32), rng.random((20, 50)) < 0.2
    expected = np.take_along_axis(relevant, np.argsort(-scores, axis=1), axis=1)[:, :7]
    np.testing.assert_array_equal(rank(scores, relevant, np.ones((20, 50), bool), 7).hits_QK, expected)


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_one_for_a_perfect_ranking_and_zero_for_a_hopeless_one(name: str) -> None:
    relevant = np.array([2])
    assert METRICS[name](Ranked(np.array([[True, True]]), relevant), 2)[0] == 1
    assert METRICS[name](Ranked(np.array([[False, False]]), relevant), 2)[0] == 0


def test_scores_that_are_all_alike_rank_no_better_than_chance() -> None:
    categories = np.repeat(np.arange(20), 20)
    relevant = categories[:, None] == categories[None]
    alike = rank(np.zeros((400, 400), np.float32), relevant, ~np.eye(400, dtype=bool), k=10)
    assert precision(alike, 10).mean() == pytest.approx(19 / 399, abs=0.02)

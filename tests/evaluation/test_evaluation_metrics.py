import math

import numpy as np
import pytest

from rayreel.evaluation.metrics import (
    METRICS,
    Ranked,
    average_precision,
    hit_rate,
    mrr,
    ndcg,
    per_query,
    precision,
    recall,
)

HITS = np.array([[True, False, True, False, True]])


def ranked(hits: np.ndarray = HITS, relevant: int = 3) -> Ranked:
    places = np.tile(np.arange(hits.shape[1]), (len(hits), 1))
    return Ranked(places, hits, np.full(len(hits), relevant))


def test_recall_is_the_share_of_relevant_items_in_the_top_k() -> None:
    assert [recall(ranked(), k)[0] for k in (1, 2, 3, 5)] == pytest.approx([1 / 3, 1 / 3, 2 / 3, 1])


def test_precision_is_the_share_of_the_top_k_that_is_relevant() -> None:
    assert [precision(ranked(), k)[0] for k in (1, 2, 3, 5)] == pytest.approx([1, 1 / 2, 2 / 3, 3 / 5])


def test_ndcg_matches_a_value_computed_by_hand() -> None:
    found = 1 + 1 / math.log2(4)
    best = 1 + 1 / math.log2(3) + 1 / math.log2(4)
    assert ndcg(ranked(), 3)[0] == pytest.approx(found / best)


def test_ndcg_at_k_is_one_if_all_k_are_relevant_even_if_more_items_are() -> None:
    assert ndcg(ranked(), 1)[0] == 1


def test_the_hit_rate_is_one_if_any_of_the_top_k_is_relevant() -> None:
    late = ranked(np.array([[False, False, True]]), relevant=1)
    assert [hit_rate(late, k)[0] for k in (1, 2, 3)] == [0, 0, 1]


def test_the_reciprocal_rank_uses_the_first_hit_and_is_zero_beyond_k() -> None:
    late = ranked(np.array([[False, False, True, True]]), relevant=2)
    assert [mrr(late, k)[0] for k in (2, 3, 4)] == pytest.approx([0, 1 / 3, 1 / 3])


def test_average_precision_matches_values_computed_by_hand() -> None:
    assert average_precision(ranked(), 5)[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)
    assert average_precision(ranked(), 3)[0] == pytest.approx((1 + 2 / 3) / 3)
    assert average_precision(ranked(relevant=20), 5)[0] == pytest.approx((1 + 2 / 3 + 3 / 5) / 5)  # at most 5 of 20


def test_with_fewer_candidates_than_k_precision_still_divides_by_k() -> None:
    assert recall(ranked(), 10)[0] == 1
    assert precision(ranked(), 10)[0] == pytest.approx(3 / 10)
    discount = [1 / math.log2(place + 2) for place in range(5)]
    assert ndcg(ranked(), 10)[0] == pytest.approx((discount[0] + discount[2] + discount[4]) / sum(discount[:3]))


def test_metrics_are_computed_per_query() -> None:
    two = ranked(np.array([[True, False], [False, False]]), relevant=1)
    assert {name: values.tolist() for name, values in per_query(two, [2]).items()} == {
        "precision@2": [0.5, 0],
        **{f"{name}@2": [1, 0] for name in ("recall", "hit_rate", "ndcg", "mrr", "map")},
    }


@pytest.mark.parametrize("name", METRICS)
def test_every_metric_is_one_for_a_perfect_ranking_and_zero_without_hits(name: str) -> None:
    assert METRICS[name](ranked(np.array([[True, True]]), relevant=2), 2)[0] == 1
    assert METRICS[name](ranked(np.array([[False, False]]), relevant=2), 2)[0] == 0


def test_a_subset_of_queries_can_be_selected() -> None:
    both = Ranked(np.array([[1], [2]]), np.array([[True], [False]]), np.array([1, 4]))
    second = both.only(np.array([False, True]))
    assert (second.items_QK.tolist(), second.hits_QK.tolist(), second.relevant_Q.tolist()) == ([[2]], [[False]], [4])

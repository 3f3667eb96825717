import numpy as np
import pytest
from scipy import sparse

from rayreel.evaluation.retrieval import ItemTask, measure
from rayreel.evaluation.scorers import Scorer, by_chance

CATEGORIES = [f"c{n % 4}" for n in range(100)]
ALONE = [f"g{n}" for n in range(100)]
ALL = np.arange(100)


def alike(names: list[str]) -> Scorer:
    kinds = np.array(names)
    return lambda candidates: lambda rows: (kinds[rows][:, None] == kinds[candidates][None]).astype(np.float32)


def found_by(task: ItemTask, query: int) -> list[int]:
    """The videos that are relevant to a query."""
    return sorted(task.candidates[task.relevant(np.array([query])).toarray()[0]].tolist())


def test_a_perfect_scorer_has_the_best_scores() -> None:
    scores = measure(ItemTask.of(ALL, ALL, CATEGORIES, ALONE), alike(CATEGORIES), ks=(5, 10))
    assert [scores[name] for name in ("ndcg@5", "ndcg@10", "precision@10", "map@10")] == pytest.approx([1, 1, 1, 1])
    assert scores["recall@10"] == pytest.approx(10 / 24)


def test_random_scores_have_the_base_rate() -> None:
    rows = np.arange(200)
    task = ItemTask.of(rows, rows, [f"c{n % 4}" for n in rows], [f"g{n}" for n in rows])
    scores = measure(task, by_chance(), ks=(10,))
    assert scores["precision@10"] == pytest.approx(49 / 199, abs=0.03)
    assert scores["recall@10"] == pytest.approx(10 / 199, abs=0.01)


def test_candidates_of_the_querys_group_are_excluded() -> None:
    groups = [f"g{n % 50}" for n in range(100)]  # rows n and n + 50 are in one group
    categories = [f"c{n % 25}" for n in range(100)]
    task = ItemTask.of(ALL, ALL, categories, groups)
    excluded = task.excluded(np.array([3])).toarray()[0]
    assert sorted(task.candidates[excluded.astype(bool)].tolist()) == [3, 53]
    assert 53 not in found_by(task, 3) and 28 in found_by(task, 3)
    assert measure(task, alike(categories), ks=(2,))["recall@2"] == 1
    assert measure(task, alike(groups), ks=(1,))["precision@1"] < 0.2


def test_queries_of_one_group_are_one_cluster() -> None:
    task = ItemTask.of(np.arange(4), np.arange(4), ["a"] * 4, ["x", "y", "x", "z"])
    first, second, third, _ = task.clusters.tolist()
    assert first == third != second


def test_queries_without_a_category_or_a_relevant_candidate_are_left_out() -> None:
    categories = ["dogs", "dogs", "", "", "cats", "birds", "birds"]
    groups = ["g0", "g1", "g2", "g3", "g4", "g5", "g5"]
    rows = np.arange(7)
    assert ItemTask.of(rows, rows, categories, groups).queries.tolist() == [0, 1]


def test_only_candidates_are_relevant() -> None:
    rows = np.arange(4)
    task = ItemTask.of(rows, np.array([1, 2]), ["a", "a", "b", "b"], [f"g{n}" for n in rows])
    assert task.queries.tolist() == [0, 3]
    assert (found_by(task, 0), found_by(task, 3)) == ([1], [2])


def test_videos_are_relevant_to_each_other_if_they_share_a_tag() -> None:
    tags = [["sea", "sun"], ["sun"], ["snow"], [], ["sea", "snow"]]
    task = ItemTask.by_tags(np.arange(5), np.arange(5), tags, ALONE[:5])
    assert [found_by(task, query) for query in (0, 1, 2, 4)] == [[1, 4], [0], [4], [0, 2]]
    assert task.queries.tolist() == [0, 1, 2, 4]


def test_co_watched_videos_are_relevant_regardless_of_category() -> None:
    together = sparse.csr_array(np.array([[0, 2, 0, 1], [2, 0, 0, 0], [0, 0, 0, 0], [1, 0, 0, 0]], np.float32))
    task = ItemTask.by_co_watch(np.arange(4), np.arange(4), together, ["x", "y", "z", "x"])
    assert task.queries.tolist() == [0, 1]  # 3 was co-watched with 0 only, which is in its group
    assert (found_by(task, 0), found_by(task, 1)) == ([1], [0])


def test_measure_is_empty_without_queries() -> None:
    rows = np.arange(2)
    assert measure(ItemTask.of(rows, rows, ["", ""], ["g0", "g1"]), alike(["", ""])) == {}


def test_candidates_are_in_a_fixed_random_order() -> None:
    task = ItemTask.of(ALL, ALL, CATEGORIES, ALONE)
    assert sorted(task.candidates.tolist()) == ALL.tolist() != task.candidates.tolist()
    again = ItemTask.of(ALL[:5], ALL, CATEGORIES, ALONE)
    np.testing.assert_array_equal(task.candidates, again.candidates)

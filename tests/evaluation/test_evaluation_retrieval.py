import numpy as np
import pytest

from feature_rows import clusters
from rayreel.evaluation import retrieval
from rayreel.evaluation.baselines import Scorer, by_chance
from rayreel.evaluation.retrieval import Task, measure

CATEGORIES = [f"c{n % 4}" for n in range(100)]
ALONE = [f"g{n}" for n in range(100)]
EVERYBODY = np.arange(100)


def perfect(categories: list[str]) -> Scorer:
    names = np.array(categories)
    return lambda rows: (names[rows][:, None] == names[None]).astype(np.float32)


def test_a_perfect_scorer_gets_full_marks() -> None:
    scores = measure(Task.of(EVERYBODY, EVERYBODY, CATEGORIES, ALONE), perfect(CATEGORIES), ks=(5, 10))
    assert [scores[name] for name in ("ndcg@5", "ndcg@10", "precision@10")] == pytest.approx([1, 1, 1])
    assert scores["recall@10"] == pytest.approx(10 / 24)


def test_chance_finds_the_base_rate() -> None:
    matrix = clusters(categories=4, each=50)
    rows = np.arange(200)
    task = Task.of(rows, rows, matrix.column("category"), [f"g{n}" for n in rows])
    scores = measure(task, by_chance(matrix), ks=(10,))
    assert scores["precision@10"] == pytest.approx(49 / 199, abs=0.03)
    assert scores["recall@10"] == pytest.approx(10 / 199, abs=0.01)


def test_finding_only_the_own_group_counts_for_nothing() -> None:
    groups = [f"g{n % 50}" for n in range(100)]  # rows n and n + 50: one group, but not one category
    categories = [f"c{n % 25}" for n in range(100)]
    owners = np.array(groups)
    own: Scorer = lambda rows: (owners[rows][:, None] == owners[None]).astype(np.float32)  # noqa: E731
    task = Task.of(EVERYBODY, EVERYBODY, categories, groups)
    assert not (task.allowed(EVERYBODY) & (owners[:, None] == owners[None])).any()
    assert measure(task, perfect(categories), ks=(2,))["recall@2"] == 1
    assert measure(task, own, ks=(1,))["precision@1"] < 0.2


def test_queries_without_a_category_or_without_anything_to_find_are_left_out() -> None:
    categories = ["dogs", "dogs", "", "", "cats", "birds", "birds"]
    groups = ["g0", "g1", "g2", "g3", "g4", "g5", "g5"]
    rows = np.arange(7)
    assert Task.of(rows, rows, categories, groups).queries.tolist() == [0, 1]


def test_what_is_no_candidate_cannot_be_found() -> None:
    rows = np.arange(4)
    task = Task.of(rows, np.array([1, 2]), ["a", "a", "b", "b"], [f"g{n}" for n in rows])
    assert task.queries.tolist() == [0, 3]
    assert task.relevant(task.queries).tolist() == [[True, False], [False, True]]


def test_scores_are_read_from_the_candidates_own_columns() -> None:
    rows = np.arange(4)
    task = Task.of(np.array([0]), np.array([3, 2]), ["a", "b", "b", "a"], [f"g{n}" for n in rows])
    third: Scorer = lambda queries: np.tile(np.float32([0, 9, 0, 1]), (len(queries), 1))  # noqa: E731
    assert measure(task, third, ks=(1,))["precision@1"] == 1


def test_no_queries_give_no_numbers() -> None:
    rows = np.arange(2)
    assert measure(Task.of(rows, rows, ["", ""], ["g0", "g1"]), perfect(["", ""])) == {}


def test_taking_queries_a_few_at_a_time_changes_no_number(monkeypatch: pytest.MonkeyPatch) -> None:
    matrix = clusters(each=10)
    rows = np.arange(40)
    task = Task.of(rows, rows, matrix.column("category"), [f"g{n}" for n in rows])
    whole = measure(task, by_chance(matrix))
    monkeypatch.setattr(retrieval, "_QUERIES_AT_ONCE", 7)
    assert measure(task, by_chance(matrix)) == whole

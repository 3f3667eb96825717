from collections.abc import Callable

import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.evaluation.collaborative import by_ease, by_factors, by_item_knn
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.retrieval import measure
from rayreel.evaluation.scorers import Scorer, by_chance
from rayreel.evaluation.splits import Split
from rayreel.evaluation.users import UserQueries, UserSplit, UserTask, split_interactions
from watching import watched

COUNT = 60
VIDEOS = feature_matrix(*(feature_row(f"v{n:02}") for n in range(COUNT)))
SPLIT = Split(np.arange(50), np.empty(0, np.int64), np.arange(50, COUNT))
Maker = Callable[[UserSplit, UserQueries, EvaluationConfig], Scorer]
CONFIG = EvaluationConfig()
MAKERS: dict[str, Maker] = {"item-kNN": by_item_knn, "matrix factorisation": by_factors, "EASE": by_ease}


@pytest.fixture(scope="module")
def split() -> UserSplit:
    """Each user watches videos of one of four kinds."""
    rng = np.random.default_rng(0)
    watches = []
    for user in range(80):
        liked = rng.permutation(np.arange(user % 4, COUNT, 4))[:10]
        watches += [(f"u{user}", f"v{row:02}", float(rng.integers(100_000))) for row in liked]
    return split_interactions(watched(*watches), VIDEOS, SPLIT, SplitConfig(test_period=0.2))


@pytest.mark.parametrize("name", MAKERS)
def test_planted_preferences_are_found(name: str, split: UserSplit) -> None:
    task = UserTask.of(split.test, SPLIT.train, COUNT)
    assert measure(task, MAKERS[name](split, split.test, CONFIG), ks=(10,))["recall@10"] > 0.6
    assert measure(task, by_chance(), ks=(10,))["recall@10"] < 0.4


@pytest.mark.parametrize("name", MAKERS)
def test_videos_without_training_views_score_zero(name: str, split: UserSplit) -> None:
    scorer = MAKERS[name](split, split.test, CONFIG)
    np.testing.assert_allclose(scorer(SPLIT.test)(np.arange(5)), 0, atol=1e-6)


@pytest.mark.parametrize("name", MAKERS)
def test_scores_are_in_the_order_of_the_candidates(name: str, split: UserSplit) -> None:
    answer = MAKERS[name](split, split.test, CONFIG)
    every, some = answer(np.arange(COUNT))(np.array([2, 4])), answer(np.array([9, 3]))(np.array([4]))
    np.testing.assert_allclose(every[1, [9, 3]], some[0], rtol=1e-3)


def test_factorisation_is_reproducible_for_a_seed(split: UserSplit) -> None:
    configs = (EvaluationConfig(seed=seed) for seed in (1, 1, 2))
    first, again, other = (by_factors(split, split.test, config)(SPLIT.train)(np.arange(3)) for config in configs)
    np.testing.assert_allclose(first, again, rtol=1e-4)
    assert not np.allclose(first, other, rtol=1e-2)


@pytest.mark.parametrize(
    ("name", "changed"),
    [
        ("item-kNN", {"knn_neighbours": 2}),
        ("matrix factorisation", {"factors": 2}),
        ("matrix factorisation", {"view_confidence": 1}),
        ("EASE", {"ease_regularisation": 5}),
        ("EASE", {"ease_decay": 0.5}),
    ],
)
def test_the_settings_of_a_baseline_change_its_scores(name: str, changed: dict[str, int], split: UserSplit) -> None:
    default, other = (
        MAKERS[name](split, split.test, config)(SPLIT.train)(np.arange(3))
        for config in (CONFIG, EvaluationConfig.model_validate(changed))
    )
    assert not np.allclose(default, other, rtol=1e-2)

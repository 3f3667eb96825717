import numpy as np
import pytest

from feature_rows import feature_matrix, feature_row
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.scorers import by_value
from rayreel.evaluation.splits import Split
from rayreel.evaluation.users import Period, UserQueries, UserSplit, UserTask, split_interactions
from watching import watched

VIDEOS = feature_matrix(*(feature_row(f"v{n}") for n in range(40)))
SPLIT = Split(np.arange(24), np.arange(24, 30), np.arange(30, 40))


def histories(users: UserQueries) -> dict[int, list[int]]:
    """Histories by target."""
    bounds = zip(users.targets_Q, users.offsets, users.offsets[1:], strict=False)
    return {int(target): users.items[start:end].tolist() for target, start, end in bounds}


def crowd(seed: int = 0, **settings: object) -> UserSplit:
    """Users who watch at random, some videos twice."""
    rng = np.random.default_rng(seed)
    watches = [(f"u{rng.integers(50)}", f"v{rng.integers(40)}", float(rng.integers(10_000))) for _ in range(900)]
    return split_interactions(watched(*watches), VIDEOS, SPLIT, SplitConfig(**settings))


def test_the_target_is_the_last_video_and_the_history_all_before_it() -> None:
    table = watched(*(("u", f"v{n}", 10.0 * n) for n in range(20)), ("w", "v3", 0), ("w", "v5", 195))
    found = split_interactions(table, VIDEOS, SPLIT, SplitConfig())
    assert histories(found.test) == {19: list(range(19)), 5: [3]}


def test_by_default_the_periods_are_the_same_for_all_users() -> None:
    split = crowd()
    training, validation, test = (split.views.seconds[split.periods == period] for period in Period)
    assert training.max() < validation.min() <= validation.max() < test.min()
    assert len(validation) / len(split.periods) == pytest.approx(0.1, abs=0.02)
    assert len(test) / len(split.periods) == pytest.approx(0.1, abs=0.02)


@pytest.mark.parametrize("seed", range(5))
def test_training_contains_no_future_view_and_no_held_out_video(seed: int) -> None:
    split = crowd(seed)
    seconds = np.asarray(split.training["timestamp"].cast("int64")) / 1e6
    assert seconds.max() < split.views.seconds[split.periods > Period.TRAINING].min()
    known = {f"v{row}" for row in SPLIT.train}
    assert set(split.training["video_id"].to_pylist()) <= known
    assert len(split.training) == split.training_UN.nnz == split.views_N.sum() > 300
    assert split.views_N[24:].sum() == 0


@pytest.mark.parametrize("cut", ["global", "per_user"])
@pytest.mark.parametrize("seed", range(5))
def test_validation_contains_no_test_videos_and_no_views_of_the_test_period(seed: int, cut: str) -> None:
    split = crowd(seed, user_cut=cut)
    assert not np.isin(np.concatenate([split.validation.items, split.validation.targets_Q]), SPLIT.test).any()
    assert len(split.validation.targets_Q) > 10
    if cut == "global":
        earlier = split.views.rows[split.periods <= Period.VALIDATION]
        assert np.isin(split.validation.targets_Q, earlier).all()


def test_a_target_is_never_in_its_own_history() -> None:
    for users in (crowd().test, crowd().validation, crowd(user_cut="per_user").test):
        assert all(target not in history for target, history in histories(users).items())


def test_per_user_the_last_view_is_for_the_test_and_the_one_before_for_validation() -> None:
    table = watched(*(("u", f"v{n}", n) for n in range(5)), *(("w", f"v{n}", 1000 + n) for n in (7, 8)), ("x", "v9", 0))
    split = split_interactions(table, VIDEOS, SPLIT, SplitConfig(user_cut="per_user"))
    assert histories(split.test) == {4: [0, 1, 2, 3], 8: [7]}
    assert histories(split.validation) == {3: [0, 1, 2]}
    assert split.training["video_id"].to_pylist() == ["v0", "v1", "v2"]


def test_users_without_a_history_are_left_out() -> None:
    table = watched(*(("u", f"v{n}", n) for n in range(10)), ("new", "v3", 1000))
    assert histories(split_interactions(table, VIDEOS, SPLIT, SplitConfig()).test) == {9: list(range(9))}


def test_recent_weights_cover_the_last_videos_of_each_history() -> None:
    users = UserQueries(np.array([9, 8]), np.array([0, 5, 6]), np.array([4, 3, 2, 1, 0, 7]))
    recent = users.recent(10, last=2).toarray()
    assert recent[0].tolist() == [0.5, 0.5, *[0] * 8]
    assert recent[1].tolist() == [*[0] * 7, 1, 0, 0]
    np.testing.assert_array_equal(users.history(10).toarray().sum(axis=1), [5, 1])


def test_the_history_is_masked_and_everything_else_is_ranked() -> None:
    users = UserQueries(np.array([1, 0]), np.array([0, 2, 3]), np.array([4, 3, 2]))
    task = UserTask.of(users, np.arange(5), 5)
    found = rank(task, by_value(np.array([1, 2, 3, 4, 5], np.float32)), 5)
    assert found.items_QK.tolist() == [[2, 1, 0, -1, -1], [4, 3, 1, 0, -1]]
    assert found.hits_QK.tolist() == [[False, True, *[False] * 3], [*[False] * 3, True, False]]
    assert found.relevant_Q.tolist() == [1, 1]


def test_users_whose_target_is_not_a_candidate_are_left_out() -> None:
    users = UserQueries(np.array([1, 0]), np.array([0, 2, 3]), np.array([4, 3, 2]))
    assert UserTask.of(users, np.array([0, 2, 3]), 5).queries.tolist() == [1]


def test_each_user_is_a_separate_cluster() -> None:
    users = UserQueries(np.array([1, 1, 0]), np.array([0, 1, 2, 3]), np.array([4, 4, 2]))
    assert len(set(UserTask.of(users, np.arange(5), 5).clusters.tolist())) == 3

"""Users as the service answers them: the evaluation ranks exactly as `recommend` does."""

from pathlib import Path

import numpy as np
import pytest

from live_case import Release, pinned
from rayreel.evaluation.served import ServedUsers
from rayreel.evaluation.user_tower import by_user_tower
from rayreel.evaluation.users import UserQueries
from rayreel.evaluation.weights import view_weights
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_user
from rayreel.recommendation.users import WatchedVideo
from rayreel.release.snapshot import load_snapshot
from rayreel.release.users import write_user_tower
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.memory import WatchMemory
from rayreel.tower.user import UserTower
from release_rows import DIM, release_row
from unit_vectors import unit

VIDEOS, DAY_S, NOW = 40, 86_400.0, 1.79e9
IDS = [f"v{n:02}" for n in range(VIDEOS)]


def queries(seed: int) -> UserQueries:
    """Three users with histories of several interests, oldest first, some of which they did not like."""
    rng = np.random.default_rng(seed)
    items = np.concatenate([rng.permutation(VIDEOS)[:count] for count in (2, 7, 12)])
    ages_V = np.concatenate([np.sort(rng.random(count) * 90 * DAY_S)[::-1] for count in (2, 7, 12)])
    weights_V = rng.choice([0.5, 1.0, 3.0], 21).astype(np.float32)
    weights_V[[4, 12]] = 0
    return UserQueries(np.zeros(3, np.int64), np.array([0, 2, 9, 21]), items, NOW - ages_V, weights_V)


def answered(live: Live, users: UserQueries, number: int) -> list[str]:
    assert users.seconds is not None and users.weights is not None
    own = range(users.offsets[number], users.offsets[number + 1])
    watched = [WatchedVideo(IDS[users.items[v]], float(users.weights[v]), float(users.seconds[v])) for v in own]
    kept, unloved = ([video for video in watched if (video.weight > 0) == liked] for liked in (True, False))
    hidden = frozenset(video.video_id for video in unloved)
    found = by_user(pinned(live), kept, (), Options(top_k=10, exclude=hidden), unloved=unloved)
    return [video.video_id for video in found]


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("learnt", [False, True])
def test_users_are_ranked_as_they_are_served(tmp_path: Path, seed: int, learnt: bool) -> None:
    vectors_ND, users = unit(VIDEOS, DIM, seed=seed).numpy(), queries(seed)
    made = Release(tmp_path, [release_row(IDS[n], embedding=vectors_ND[n]) for n in range(VIDEOS)], neighbours=4)
    scorer = ServedUsers(vectors_ND, users).scorer()
    if learnt:
        rng = np.random.default_rng(seed)
        weights_KK = rng.normal(size=(31, 31)).astype(np.float16)
        weights_KK[0] = weights_KK[:, 0] = 0
        memory = WatchMemory(weights_KK, 0.8, 0.1)
        tower = UserTower.of(UserTowerConfig(width=4, history=5), DIM, IDS[:30])
        tower.network.out.weight.data = unit(4, 16)
        write_user_tower(made.rows, UserTower(tower.network, tower.codes, memory))
        made.live = Live.of(load_snapshot(made.storage, 1, tmp_path / "cache"))
        assert made.live.users is not None
        scorer = by_user_tower(made.live.users, vectors_ND, IDS, users)
    scores_QC = scorer(np.arange(VIDEOS))(np.arange(3)).copy()
    for number in range(3):
        scores_QC[number, users.items[users.offsets[number] : users.offsets[number + 1]]] = -np.inf
        best = np.argsort(-scores_QC[number], kind="stable")[:10]
        assert answered(made.live, users, number) == [IDS[row] for row in best]


def test_a_rating_decides_the_weight_of_a_view_then_the_share_that_was_watched() -> None:
    nan = np.nan
    weights_V = view_weights(
        np.array([5, 2.5, 1, nan, nan, nan, nan]),
        np.array([1, nan, nan, 5, 0.001, 30, nan]),
        np.array([10, nan, nan, 10, 10, 10, 10.0]),
    )
    np.testing.assert_allclose(weights_V, [3, 0, 0, 0.5, 0.1, 1, 1], rtol=1e-6)

"""A tower that is trained on who watched what finds what is planted; methods that see content alone do not."""

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from planted_world import BEGIN, DAY_S, KEY, PlantedConfig, PlantedWorld
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.frozen import FROZEN, fit_frozen_features
from rayreel.evaluation.methods import baselines, towers
from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import intervals
from rayreel.evaluation.scorers import Answer, Rows
from rayreel.evaluation.task import Make
from rayreel.evaluation.users import Period, UserTask
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import Batches
from rayreel.training.config import Select, TrainConfig
from rayreel.training.job import Prepared, TrainJob
from rayreel.training.loop import make_learner, steps_per_epoch
from rayreel.training.order import epoch_batches
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import validation

CONTENT = (
    "TF-IDF titles",
    "visual alone",
    "audio alone",
    "text alone",
    "mean-pooled .7 vis .3 txt",
    "untrained tower",
    FROZEN,
)
ITEMS_KNOWN, ALL_KNOWN = "oracle: tastes of videos", "oracle: tastes of videos and users"


@dataclass(frozen=True)
class NextViewScores:
    """nDCG@10 of each method by user, and the masks of the users in each part.

    Parts: all; warm, whose target has views in training; cold, whose target is a test video.
    """

    scores: dict[str, Values]
    parts: dict[str, NDArray[np.bool_]]

    def mean(self, method: str, part: str) -> float:
        return float(self.scores[method][self.parts[part]].mean())

    def interval(self, method: str, part: str) -> tuple[float, float]:
        """95 % bootstrap interval of the mean."""
        values_Q = self.scores[method][self.parts[part]]
        low, high = intervals(values_Q[:, None], np.arange(len(values_Q)), 1000)
        return float(low[0]), float(high[0])

    def best(self, methods: Iterable[str], part: str) -> str:
        return max(methods, key=lambda method: self.mean(method, part))

    def ratio(self, method: str, other: str, part: str) -> float:
        return self.mean(method, part) / self.mean(other, part)


@cache
def world() -> PlantedWorld:
    return PlantedWorld(PlantedConfig())


@cache
def exam() -> Exam:
    matrix = FeatureMatrix.from_table(world().features())
    return Exam.of(matrix, SplitConfig(), EvaluationConfig(), world().interactions())


def trained(pairs: PairsConfig) -> VideoTower:
    """A tower after some steps of the training core, in one process."""
    own = exam()
    assert own.users is not None
    train = TrainConfig(epochs=60, batch_size=128, learning_rate=3e-3, select=Select.USERS)
    job = TrainJob("", KEY, "", tower=TowerConfig(dim=64), train=train, pairs=pairs)
    plan = PairPlan.of(own.matrix, own.split.train, pairs, own.users.training)
    ready = Prepared(own.matrix, own.split, plan, validation(own, train.select, pairs))
    learner, batches = make_learner(job, ready), Batches(own.matrix, plan, pairs, train.seed)
    for epoch in range(train.epochs):
        for step, anchors in epoch_batches(own.split.train, train.batch_size, epoch, train.seed):
            number = epoch * steps_per_epoch(train, ready) + step
            learner.step(batches.make(anchors, epoch, step, batches.largest()), number, (train.seed, epoch, step))
    return learner.tower


def oracles() -> dict[str, Make]:
    """Methods that know the tastes of videos, and those of users at the moment of their choice too.

    The second ranks by the probabilities that made the views, so nothing is better in the long run.
    """
    users = exam().users
    assert users is not None
    views = users.views
    last = np.flatnonzero(np.diff(views.users, append=-1))
    last = last[users.periods[last] == Period.TEST]
    assert np.array_equal(views.rows[last], users.test.targets_Q)
    moments_Q = (views.seconds[last] - BEGIN.timestamp()) / DAY_S / world().config.days

    def by_appeal(candidates: Rows) -> Answer:
        return lambda queries: world().appeal(views.users[last][queries], moments_Q[queries])[:, candidates]

    return {
        ITEMS_KNOWN: lambda: lambda task: task.by(world().taste_VK),
        ALL_KNOWN: lambda: lambda _: by_appeal,
    }


@cache
def found() -> NextViewScores:
    """The scores of a tower trained on co-watching, all baselines and the oracles on the test's users."""
    own = exam()
    assert own.users is not None
    tower = trained(PairsConfig(views=0, co_watched=1, co_watch_window_s=10 * DAY_S))
    task = UserTask.of(own.users.test, own.candidates("test"), len(own.matrix), own.config.history)
    methods = {"tower": towers(tower, own.matrix), **baselines(tower, own, fit_frozen_features(own)), **oracles()}
    scorers = ((name, make()(task)) for name, make in methods.items())
    scores = {
        name: per_query(rank(task, scorer, 10), (10,), ("ndcg",))["ndcg@10"]
        for name, scorer in scorers
        if scorer is not None
    }
    targets_Q = task.user_queries.targets_Q[task.queries]
    warm, cold = own.users.views_N[targets_Q] > 0, np.isin(targets_Q, own.split.test)
    return NextViewScores(scores, {"all": np.ones(len(targets_Q), np.bool_), "warm": warm, "cold": cold})


@pytest.mark.slow
@pytest.mark.parametrize("part", ["all", "cold"])
def test_co_watching_teaches_what_similarity_of_content_cannot_show(part: str) -> None:
    best = found().best(CONTENT, part)
    assert found().ratio("tower", best, part) > 2
    assert found().interval("tower", part)[0] > found().interval(best, part)[1]


def test_the_oracles_are_the_upper_bound_and_the_tower_comes_near_them() -> None:
    assert found().best(found().scores, "all") == ALL_KNOWN
    assert 0.6 < found().ratio("tower", ITEMS_KNOWN, "all") <= 1.1


def test_collaborative_methods_know_nothing_about_held_out_videos() -> None:
    assert found().mean("item-kNN", "cold") == 0
    assert found().mean("item-kNN", "warm") > found().mean("popularity", "warm") > 0


def test_no_user_watches_a_video_twice_or_before_it_appears() -> None:
    made = world()
    assert all(len(set(watched)) == made.config.views for watched in made.watched_UW.tolist())
    assert (made.begin_V[made.watched_UW] <= made.moment_UW).all()
    assert (np.diff(made.moment_UW, axis=1) >= 0).all()


def test_taste_is_a_small_part_of_the_features() -> None:
    def explained(hidden_VH: NDArray[np.floating]) -> float:
        """Share of the variance of the frames that a linear map of what is hidden explains."""
        frames_VD = np.stack([np.stack(row)[0] for row in world().features()["visual"].to_pylist()]).astype(np.float64)
        frames_VD -= frames_VD.mean(axis=0)
        residual_VD = frames_VD - hidden_VH @ np.linalg.lstsq(hidden_VH, frames_VD, rcond=None)[0]
        return float(1 - residual_VD.var() / frames_VD.var())

    assert explained(world().taste_VK) < 0.1
    assert explained(world().style_VS) > 0.5


def test_held_out_videos_are_watched_in_the_test_and_unknown_to_training() -> None:
    users = exam().users
    assert users is not None
    cold = np.isin(users.views.rows, exam().split.test)
    assert (cold & (users.periods == Period.TEST)).sum() > 100
    assert users.views_N[exam().split.test].sum() == 0

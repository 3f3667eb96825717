"""What is planted must be found: by a tower that is shown who watched what, and by nothing that sees content alone."""

from functools import cache

import numpy as np
import pytest
from numpy.typing import NDArray

from benchmarks.planted import ALL_KNOWN, ITEMS_KNOWN, oracles
from benchmarks.standings import Standings, standings
from benchmarks.world import KEY, World, WorldConfig
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.methods import baselines, towers
from rayreel.evaluation.users import Period
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import Batches
from rayreel.training.config import Select, TrainConfig
from rayreel.training.job import Prepared, TrainJob
from rayreel.training.loop import make_learner, steps_per_epoch
from rayreel.training.order import epoch_batches
from rayreel.training.pairs.config import DAY_S, PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import validation

SMALL = WorldConfig(videos=600, users=600, views=30, tastes=6, styles=20, taste_std=0.5)
CONTENT = ("TF-IDF titles", "visual alone", "audio alone", "text alone", "mean-pooled .7 vis .3 txt", "untrained tower")


@cache
def world() -> World:
    return World(SMALL)


@cache
def exam() -> Exam:
    matrix = FeatureMatrix.from_table(world().features())
    return Exam.of(matrix, SplitConfig(), EvaluationConfig(), world().interactions())


def taught(pairs: PairsConfig) -> VideoTower:
    """A tower after some steps of the training core, on one process."""
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


@cache
def found() -> Standings:
    tower = taught(PairsConfig(views=0, co_watched=1, co_watch_window_s=10 * DAY_S))
    methods = {"tower": towers(tower, exam().matrix), **baselines(tower, exam()), **oracles(world(), exam())}
    return standings(exam(), methods)


@pytest.mark.parametrize("part", ["all", "cold"])
def test_co_watching_teaches_what_no_likeness_of_content_tells(part: str) -> None:
    best = found().best(CONTENT, part)
    assert found().ratio("tower", best, part) > 2
    assert found().interval("tower", part)[0] > found().interval(best, part)[1]


def test_the_oracles_are_the_upper_bound_and_the_tower_comes_near_them() -> None:
    assert found().best(found().scores, "all") == ALL_KNOWN
    assert 0.6 < found().ratio("tower", ITEMS_KNOWN, "all") <= 1.1


def test_collaborative_methods_know_nothing_of_held_out_videos() -> None:
    assert found().mean("item-kNN", "cold") == 0
    assert found().mean("item-kNN", "warm") > found().mean("popularity", "warm") > 0


def test_nobody_watches_a_video_twice_or_before_it_is_there() -> None:
    made = world()
    assert all(len(set(watched)) == SMALL.views for watched in made.watched_UW.tolist())
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

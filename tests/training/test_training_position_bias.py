"""A tower that is trained on lists whose first result everyone watches finds taste, if pairs are corrected for it.

The figures in docs/training.md are means over the seeds 0 to 3. With `-s`, the table of one seed is printed.
"""

from functools import cache

import numpy as np
import pytest

from planted_world import KEY, PlantedConfig, PlantedWorld
from position_world import shown_and_watched
from rayreel.catalog.interactions import SCHEMA, is_watched
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.methods import towers
from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import intervals
from rayreel.evaluation.users import UserTask, before_cuts
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.config import TowerConfig
from rayreel.training.batches import Batches
from rayreel.training.config import Select, TrainConfig
from rayreel.training.job import Prepared, TrainJob
from rayreel.training.loop import make_learner, steps_per_epoch
from rayreel.training.order import epoch_batches
from rayreel.training.pairs.config import DAY_S, PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import validation

WINDOW: dict[str, float] = {"views": 0, "co_watch_window_s": 10 * DAY_S}
PAIRS: dict[str, dict[str, float]] = {
    "views": {},
    "co_watched": {"co_watched": 1, **WINDOW},
    "behaviour, not corrected": {"behaviour": 1, "max_debiasing": 1, **WINDOW},
    "behaviour": {"behaviour": 1, **WINDOW},
}
SPLITS = SplitConfig(user_cut="per_user")


@cache
def scores(name: str, seed: int = 0) -> Values:
    """The nDCG@10 of the last view of each person, which no list has biased."""
    world = PlantedWorld(PlantedConfig(seed=seed, appearing=0.0, views=1))
    log, pairs = shown_and_watched(world, seed), PairsConfig.model_validate(PAIRS[name])
    views, matrix = log.filter(is_watched(log)).select(SCHEMA.names), FeatureMatrix.from_table(world.features())
    exam = Exam.of(matrix, SPLITS, EvaluationConfig(), views)
    assert exam.users is not None
    train = TrainConfig(epochs=40, batch_size=128, learning_rate=3e-3, select=Select.USERS, seed=seed)
    job = TrainJob("", KEY, "", tower=TowerConfig(dim=64), train=train, pairs=pairs)
    known = before_cuts(log, views, exam.users, SPLITS)
    plan = PairPlan.of(matrix, exam.split.train, pairs, exam.users.training, known)
    ready = Prepared(matrix, exam.split, plan, validation(exam, train.select, pairs))
    learner, batches = make_learner(job, ready), Batches(matrix, plan, pairs, seed)
    for epoch in range(train.epochs):
        for step, anchors in epoch_batches(exam.split.train, train.batch_size, epoch, seed):
            number = epoch * steps_per_epoch(train, ready) + step
            learner.step(batches.make(anchors, epoch, step, batches.largest()), number, (seed, epoch, step))
    task = UserTask.of(exam.users.test, exam.candidates("test"), len(matrix), exam.config.history)
    scorer = towers(learner.tower, matrix)()(task)
    assert scorer is not None
    return per_query(rank(task, scorer, 10), (10,), ("ndcg",))["ndcg@10"]


@pytest.mark.slow
@pytest.mark.parametrize("other", ["views", "co_watched", "behaviour, not corrected"])
def test_corrected_pairs_are_better_than_plain_ones(other: str) -> None:
    ahead_Q = scores("behaviour") - scores(other)
    (low,), (high,) = intervals(ahead_Q[:, None], np.arange(len(ahead_Q)), 1000)
    print(f"\n{other}: {ahead_Q.mean():+.3f} [{low:+.3f}, {high:+.3f}], {len(ahead_Q)} people")  # noqa: T201
    assert low > 0

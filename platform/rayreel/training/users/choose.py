"""Train the user tower, and release it only if it is measured to be better than what people get without one."""

import logging
import math
from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass, replace
from itertools import islice

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse

from rayreel.evaluation.exam import Exam, Protocol
from rayreel.evaluation.metrics import Values, per_query
from rayreel.evaluation.ranking import rank
from rayreel.evaluation.resampling import intervals, p_values
from rayreel.evaluation.scorers import Scorer
from rayreel.evaluation.sequences import Sequences
from rayreel.evaluation.served import ServedUsers
from rayreel.evaluation.user_tower import by_user_tower
from rayreel.evaluation.users import Period, UserSplit, UserTask
from rayreel.evaluation.views import Views
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.embed import embed
from rayreel.tower.embedder import Embedder
from rayreel.tower.memory import MOST_REMEMBERED, WatchMemory, memorised
from rayreel.tower.smoothing import smoothed
from rayreel.tower.user import UserTower
from rayreel.training.distributed import of_first
from rayreel.training.job import TrainJob, open_features
from rayreel.training.users.fit import WatchedNext, fit_epochs

log = logging.getLogger(__name__)
_AT = 10
METRIC = f"ndcg@{_AT}"
USER_SCORE = f"validation/user tower/{METRIC}"
# Fewer people say little about which epoch is best and whether it is better.
_MIN_PEOPLE = 40
_ALPHA = 0.05
# On MovieLens-100k, weights of 16 and 32 gave the best nDCG@10 on validation and test views.
MEMORY_WEIGHTS = (0.0, 4.0, 8.0, 16.0, 32.0, 64.0)


@dataclass(frozen=True, slots=True)
class UserChoice:
    """The user tower to release, None if there is none, and why.

    On `people` of the validation period that did not choose the number of epochs: the nDCG@10 of their next view with
    the tower, without it as the service answers, the lead with its 95 % interval, and p. NaN if not measured.
    """

    tower: UserTower | None
    reason: str
    people: int = 0
    epochs: int = 0
    memory: float = 0.0
    score: float = math.nan
    served: float = math.nan
    low: float = math.nan
    high: float = math.nan
    p: float = math.nan

    @property
    def metrics(self) -> dict[str, float]:
        """The metrics of the run; none if nothing was measured."""
        return (
            {} if math.isnan(self.score) else {USER_SCORE: self.score, f"validation/served users/{METRIC}": self.served}
        )

    def __str__(self) -> str:
        if math.isnan(self.score):
            return f"none: {self.reason}"
        lead = f"{self.score - self.served:+.3f} [{self.low:+.3f}, {self.high:+.3f}], p {self.p:.3f}"
        measured = f"{METRIC} {self.score:.3f} against {self.served:.3f} without, {lead}, {self.people} people"
        return (
            f"memory weight {self.memory:g}, best epoch {self.epochs}; {measured}"
            if self.tower is not None
            else f"none: {self.reason} ({measured})"
        )


Choose = Callable[[NDArray[np.float32], TrainJob, UserTowerConfig], UserChoice]


def choose_users(vectors_ND: NDArray[np.float32], job: TrainJob, config: UserTowerConfig) -> UserChoice:
    """Train a user tower on the vectors that a release of this job's videos would serve, [N, D]. See `train_users`."""
    exam = Exam.of(_features(job), job.splits, job.evaluation, job.interactions)
    with torch.random.fork_rng(devices=[]):
        return train_users(vectors_ND, exam, config, job.train.seed)


def attach_users(
    tower: Embedder, job: TrainJob, config: UserTowerConfig, choose: Choose = choose_users
) -> UserChoice | None:
    """Train a user tower on the vectors that a release of the tower serves; the tower has it if it is better.

    None without interactions, or if that is switched off.
    """
    if job.interactions is None or config.mode == "off":
        return None
    choice = choose(smoothed(embed(tower, _features(job)), tower.smoothing), job, config)
    tower.users = choice.tower
    return choice


def _features(job: TrainJob) -> FeatureMatrix:
    return open_features(FeatureStore(Storage(job.storage), job.key), job.features, job.train)


def train_users(
    vectors_ND: NDArray[np.float32], exam: Exam, config: UserTowerConfig, seed: int = 0, *, gate: bool = True
) -> UserChoice:
    """Train a user tower on the vectors that a release would serve, [N, D], and decide whether to release it.

    The best epoch is chosen by one half of the people with a view in the validation period; on the other half, the
    tower must be significantly better than today's answers, unless `gate` is False. Then it is trained again with the
    validation period.
    """
    task = exam.task(Protocol.USERS, "validation") if exam.users is not None else None
    if exam.users is None or not isinstance(task, UserTask):
        return UserChoice(None, "there are no interactions with a next view to predict")
    if len(task.queries) < _MIN_PEOPLE:
        return UserChoice(None, f"only {len(task.queries)} people have a next view to predict, of {_MIN_PEOPLE} needed")
    trial = _Trial(vectors_ND, exam, task, config, seed)
    fitted = trial.best()
    values_Q = trial.scores(trial.scorer(fitted.tower))
    gate_Q = np.arange(len(task.queries)) % 2 == 1
    served_Q = trial.scores(ServedUsers(vectors_ND, task.user_queries).scorer())
    lead_G1 = (values_Q - served_Q)[gate_Q, None]
    clusters_G = task.clusters[gate_Q]
    low, high = (float(bound[0]) for bound in intervals(lead_G1, clusters_G, times=2000))
    p = float(p_values(lead_G1, clusters_G, times=2000)[0])
    better = not gate or bool(of_first(float(lead_G1.mean() > 0 and p < _ALPHA)))
    found = trial.again(fitted) if better else None
    means = float(values_Q[gate_Q].mean()), float(served_Q[gate_Q].mean())
    reason = "" if better else "it is not significantly better than the interests of a history"
    return UserChoice(found, reason, int(gate_Q.sum()), fitted.epochs, fitted.memory, *means, low, high, p)


@dataclass(frozen=True, slots=True)
class _Trial:
    """What is trained and measured again and again."""

    vectors_ND: NDArray[np.float32]
    exam: Exam
    task: UserTask
    config: UserTowerConfig
    seed: int

    def best(self) -> "_Fitted":
        """Return the tower after as many passes, and with such a weight of the memory, as is best for even users."""
        tower, data = self._start(_trained(self.exam))
        kept, best, score = deepcopy(tower), 0, -1.0
        for epoch, loss in enumerate(fit_epochs(tower, data, self.config, self.seed), 1):
            now = self._even(tower)
            log.info("user tower, pass %d: loss %.3f, %s %.4f", epoch, loss, METRIC, now)
            if now > score:
                kept, best, score = deepcopy(tower), epoch, now
            if epoch >= self.config.epochs or epoch - best >= self.config.patience:
                break
        each = {weight: self._remembering(kept, _trained(self.exam), weight) for weight in MEMORY_WEIGHTS}
        weight = max(each, key=lambda weight: self._even(each[weight]))
        return _Fitted(each[weight], best, weight)

    def again(self, fitted: "_Fitted") -> UserTower:
        """Return a tower of as many passes over all that comes before the test period."""
        tower, data = self._start(_known(self.exam))
        for _ in islice(fit_epochs(tower, data, self.config, self.seed), fitted.epochs):
            pass
        return self._remembering(tower, _known(self.exam), fitted.memory)

    def scores(self, scorer: Scorer) -> Values:
        """Return the nDCG@10 of every query of the task [Q]."""
        return per_query(rank(self.task, scorer, _AT), [_AT], ["ndcg"])[METRIC]

    def scorer(self, tower: UserTower) -> Scorer:
        """Return the scorer of a tower for the task."""
        return by_user_tower(tower, self.vectors_ND, self.exam.matrix.column("video_id"), self.task.user_queries)

    def _even(self, tower: UserTower) -> float:
        even_Q = np.arange(len(self.task.queries)) % 2 == 0
        return of_first(float(self.scores(self.scorer(tower))[even_Q].mean()))

    def _start(self, views: Views) -> tuple[UserTower, WatchedNext]:
        torch.manual_seed(self.seed)
        ids = self.exam.matrix.column("video_id")
        tower = UserTower.of(self.config, self.vectors_ND.shape[1], [ids[row] for row in np.unique(views.rows)])
        return tower, WatchedNext(Sequences.of_views(views), self.vectors_ND, tower.codes_of(ids))

    def _remembering(self, tower: UserTower, views: Views, weight: float) -> UserTower:
        """Return the tower with a memory of these views, of this weight against the network's logits."""
        if not weight or len(tower.codes) > MOST_REMEMBERED:
            return tower
        codes_V = tower.codes_of(self.exam.matrix.column("video_id"))[views.rows]
        ones_V, shape = np.ones(len(codes_V), np.float32), (int(views.users.max()) + 1, len(tower.codes) + 1)
        watched_UK = sparse.csr_array((ones_V, (views.users, codes_V)), shape)
        weights_KK = memorised(watched_UK, self.config.memory_regularisation).astype(np.float16)
        scaled = weight / float(tower.network.scale.detach())
        return replace(tower, memory=WatchMemory(weights_KK, self.config.memory_decay, scaled))


@dataclass(frozen=True, slots=True)
class _Fitted:
    """A tower, and the passes and the weight of the memory that were best."""

    tower: UserTower
    epochs: int
    memory: float


def _trained(exam: Exam) -> Views:
    users = _users(exam)
    return users.views.only((users.periods == Period.TRAINING) & np.isin(users.views.rows, exam.split.train))


def _known(exam: Exam) -> Views:
    """All that comes before the test period, without test videos."""
    users = _users(exam)
    return users.views.only((users.periods <= Period.VALIDATION) & ~np.isin(users.views.rows, exam.split.test))


def _users(exam: Exam) -> UserSplit:
    assert exam.users is not None, "the caller has looked"
    return exam.users

"""Next-item evaluation of users: splits interactions by time, and predicts each user's last view."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.scorers import Rows, Scorer, Vectors, by_history
from rayreel.evaluation.splits import Split
from rayreel.evaluation.views import Views, read_views
from rayreel.features.matrix import FeatureMatrix


class Period(IntEnum):
    """The period of a view."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class UserQueries:
    """Leave-one-out queries of Q users: the target is the last view, the history all views before it.

    The history of query q is items[offsets[q]:offsets[q + 1]], oldest first and never empty. `seconds` and `weights`
    are the times and weights of its views; None: all at the same time, and of weight 1.
    """

    targets_Q: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int64]
    seconds: NDArray[np.float64] | None = None
    weights: NDArray[np.float32] | None = None

    def history(self, videos: int) -> sparse.csr_array:
        """[Q, N]: 1 for each video of a history."""
        ones = np.ones(len(self.items), np.float32)
        return sparse.csr_array((ones, self.items.copy(), self.offsets.copy()), (len(self.targets_Q), videos))

    def decayed(self, videos: int, decay: float) -> sparse.csr_array:
        """[Q, N]: 1 for the newest video of each history, and for the one before each `decay` times as much."""
        from_end = np.repeat(self.offsets[1:], np.diff(self.offsets)) - 1 - np.arange(len(self.items))
        weights = np.power(decay, from_end).astype(np.float32)
        return sparse.csr_array((weights, self.items.copy(), self.offsets.copy()), (len(self.targets_Q), videos))

    def recent(self, videos: int, last: int) -> sparse.csr_array:
        """[Q, N]: equal weights for the last videos of each history; rows sum to 1."""
        lengths = np.diff(self.offsets)
        counts = np.minimum(lengths, last)
        from_end = np.repeat(self.offsets[1:], lengths) - np.arange(len(self.items))
        chosen = from_end <= last
        weights = np.repeat(1 / counts, counts).astype(np.float32)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_array((weights, self.items[chosen], offsets), (len(counts), videos))


@dataclass(frozen=True, slots=True)
class UserSplit:
    """Training interactions, and the queries for validation and test.

    `training`: rows of the interactions table before the validation period with training videos.
    `training_UN`: the same as a users x videos matrix. `views`: those of all periods; `periods`: the period of each.
    """

    training: pa.Table
    training_UN: sparse.csr_array
    validation: UserQueries
    test: UserQueries
    views: Views
    periods: NDArray[np.int64]

    @property
    def views_N(self) -> NDArray[np.int64]:
        """[N]: number of users who watched each video in training."""
        return np.asarray(self.training_UN.sum(axis=0)).astype(np.int64)


def split_interactions(table: pa.Table, matrix: FeatureMatrix, split: Split, config: SplitConfig) -> UserSplit:
    """Split the interactions (columns of catalog.interactions.SCHEMA) by time according to `config.user_cut`.

    Only a user's first view of a video before `config.before` is used. Validation queries contain neither test videos
    nor views of the test period. Raises NoInteractions if no row is with a video of the matrix.
    """
    table = table if config.before is None else table.filter(pc.less(table["timestamp"], pa.scalar(config.before)))
    views = read_views(table, matrix)
    periods = _global_periods(views, config) if config.user_cut == "global" else _own_periods(views)
    trained = (periods == Period.TRAINING) & np.isin(views.rows, split.train)
    validation = (periods <= Period.VALIDATION) & ~np.isin(views.rows, split.test)
    shape = (int(views.users.max()) + 1, len(matrix))
    ones = np.ones(int(trained.sum()), np.float32)
    return UserSplit(
        table.take(np.sort(views.places[trained])),
        sparse.csr_array((ones, (views.users[trained], views.rows[trained])), shape),
        _queries(views.only(validation), periods[validation] == Period.VALIDATION),
        _queries(views, periods == Period.TEST),
        views,
        periods,
    )


def before_cuts(behaviour: pa.Table, table: pa.Table, users: UserSplit, config: SplitConfig) -> pa.Table:
    """Return the rows of a log from before the validation period; `table` are the interactions that were split."""
    if config.before is not None:
        table, behaviour = (
            rows.filter(pc.less(rows["timestamp"], pa.scalar(config.before))) for rows in (table, behaviour)
        )
    later = table.take(users.views.places[users.periods > Period.TRAINING])
    if config.user_cut == "global":
        return behaviour.filter(pc.less(behaviour["timestamp"], pc.min(later["timestamp"])))
    cuts = later.group_by("user_id").aggregate([("timestamp", "min")])
    cut = cuts["timestamp_min"].take(pc.index_in(behaviour["user_id"], cuts["user_id"].combine_chunks()))
    return behaviour.filter(pc.fill_null(pc.less(behaviour["timestamp"], cut), True))


def _global_periods(views: Views, config: SplitConfig) -> NDArray[np.int64]:
    """Two time cuts for all users; simultaneous views are in one period."""
    shares = [1 - config.test_period - config.validation_period, 1 - config.test_period]
    cuts = np.quantile(views.seconds, shares, method="higher")
    return np.searchsorted(cuts, views.seconds, side="right").astype(np.int64)


def _own_periods(views: Views) -> NDArray[np.int64]:
    """Each user's last view is for the test, the one before it for validation."""
    after = _ends(views) - np.arange(len(views.users))
    return (Period.TEST - after).clip(Period.TRAINING)


def _ends(views: Views) -> NDArray[np.int64]:
    """For each view, the position of its user's last view."""
    return np.searchsorted(views.users, views.users, side="right") - 1


def _queries(views: Views, targets: NDArray[np.bool_]) -> UserQueries:
    """Queries of the users whose last view is one of the targets and is not their first."""
    last = np.unique(_ends(views))
    start = np.searchsorted(views.users, views.users[last])
    chosen = targets[last] & (last > start)
    last, start = last[chosen], start[chosen]
    lengths = last - start
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    before = views.only(np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1]))
    return UserQueries(views.rows[last], offsets, before.rows, before.seconds, before.weights)


@dataclass(frozen=True, slots=True)
class UserTask:
    """Full ranking of all candidates except the history; the only relevant video is the one watched next."""

    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    user_queries: UserQueries
    videos: int
    last: int

    @staticmethod
    def of(user_queries: UserQueries, candidates: Rows, videos: int, last: int = 20) -> "UserTask":
        """Build the task without users whose target is not a candidate. A user's vector is made of `last` videos."""
        queries = np.flatnonzero(np.isin(user_queries.targets_Q, candidates))
        return UserTask(queries, np.random.default_rng(0).permutation(candidates), user_queries, videos, last)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """Each user is a separate cluster."""
        return self.queries

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the target."""
        position_N = np.full(self.videos, -1)
        position_N[self.candidates] = np.arange(len(self.candidates))
        found = position_N[self.user_queries.targets_Q[queries]]
        shape = (len(queries), len(self.candidates))
        return sparse.csr_array((np.ones(len(found), np.bool_), found, np.arange(len(found) + 1)), shape)

    def excluded(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the history."""
        return self.user_queries.history(self.videos)[queries][:, self.candidates]

    def by(self, vectors_ND: Vectors) -> Scorer:
        """Score by the normalised mean of the vectors of each user's last videos."""
        return by_history(vectors_ND, self.user_queries.recent(self.videos, self.last))

"""User next-item evaluation: who is asked about which video, and what training may know."""

from dataclasses import dataclass
from enum import IntEnum

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from scipy import sparse

from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.scorers import Rows, Scorer, Vectors, by_history
from rayreel.evaluation.splits import Split
from rayreel.evaluation.views import Views, read_views
from rayreel.features.matrix import FeatureMatrix


class Period(IntEnum):
    """Which part of time a view falls into."""

    TRAINING = 0
    VALIDATION = 1
    TEST = 2


@dataclass(frozen=True, slots=True)
class UserQueries:
    """Leave-one-out: the target of each of Q users is their last view, and their history every view before it.

    The videos of query q's history are items[offsets[q]:offsets[q + 1]], oldest first; no history is empty.
    """

    targets_Q: NDArray[np.int64]
    offsets: NDArray[np.int64]
    items: NDArray[np.int64]

    def history(self, videos: int) -> sparse.csr_array:
        """[Q, N], 1 where a user has seen a video."""
        ones = np.ones(len(self.items), np.float32)
        return sparse.csr_array((ones, self.items.copy(), self.offsets.copy()), (len(self.targets_Q), videos))

    def recent(self, videos: int, last: int) -> sparse.csr_array:
        """[Q, N], rows of sum 1: equal weights of the last videos of each history."""
        lengths = np.diff(self.offsets)
        counts = np.minimum(lengths, last)
        from_end = np.repeat(self.offsets[1:], lengths) - np.arange(len(self.items))
        chosen = from_end <= last
        weights = np.repeat(1 / counts, counts).astype(np.float32)
        offsets = np.concatenate([[0], np.cumsum(counts)])
        return sparse.csr_array((weights, self.items[chosen], offsets), (len(counts), videos))


@dataclass(frozen=True, slots=True)
class UserSplit:
    """What training may see of the interactions, and whom to ask afterwards.

    `training` has the rows of the given table that are before the validation period and about training videos.
    `training_UN` is the same, users by videos. `views` are those of all periods, `periods` their periods.
    """

    training: pa.Table
    training_UN: sparse.csr_array
    validation: UserQueries
    test: UserQueries
    views: Views
    periods: NDArray[np.int64]

    @property
    def views_N(self) -> NDArray[np.int64]:
        """How many users watched each video in training."""
        return np.asarray(self.training_UN.sum(axis=0)).astype(np.int64)


def split_interactions(table: pa.Table, matrix: FeatureMatrix, split: Split, config: SplitConfig) -> UserSplit:
    """Cut the interactions (columns of catalog.interactions.SCHEMA) by time, as `config.user_cut` says.

    The first view of a video by a user counts. A validation query knows nothing of test videos and nothing of the
    test period. Raises NoInteractions when no row is about a video of the matrix.
    """
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


def _global_periods(views: Views, config: SplitConfig) -> NDArray[np.int64]:
    """The same two moments for everybody; views of one moment are of one period."""
    shares = [1 - config.test_period - config.validation_period, 1 - config.test_period]
    cuts = np.quantile(views.seconds, shares, method="higher")
    return np.searchsorted(cuts, views.seconds, side="right").astype(np.int64)


def _own_periods(views: Views) -> NDArray[np.int64]:
    """Each user's last view is the test's, the one before it validation's."""
    after = _ends(views) - np.arange(len(views.users))
    return (Period.TEST - after).clip(Period.TRAINING)


def _ends(views: Views) -> NDArray[np.int64]:
    """For each view, the place of its user's last."""
    return np.searchsorted(views.users, views.users, side="right") - 1


def _queries(views: Views, asked: NDArray[np.bool_]) -> UserQueries:
    """Users whose last view is among the asked and has another before it."""
    last = np.unique(_ends(views))
    start = np.searchsorted(views.users, views.users[last])
    chosen = asked[last] & (last > start)
    last, start = last[chosen], start[chosen]
    lengths = last - start
    offsets = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int64)
    items = views.rows[np.repeat(start - offsets[:-1], lengths) + np.arange(offsets[-1])]
    return UserQueries(views.rows[last], offsets, items)


@dataclass(frozen=True, slots=True)
class UserTask:
    """Full ranking over all candidates, history masked; right is the one video that the user watched next."""

    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    asked: UserQueries
    videos: int
    last: int

    @staticmethod
    def of(asked: UserQueries, candidates: Rows, videos: int, last: int = 20) -> "UserTask":
        """Leave out users whose next video is no candidate. `last` videos of the history make up a user's vector."""
        queries = np.flatnonzero(np.isin(asked.targets_Q, candidates))
        return UserTask(queries, np.random.default_rng(0).permutation(candidates), asked, videos, last)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """Each user is a cluster of their own."""
        return self.queries

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the target."""
        place_N = np.full(self.videos, -1)
        place_N[self.candidates] = np.arange(len(self.candidates))
        found = place_N[self.asked.targets_Q[queries]]
        shape = (len(queries), len(self.candidates))
        return sparse.csr_array((np.ones(len(found), np.bool_), found, np.arange(len(found) + 1)), shape)

    def barred(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the history."""
        return self.asked.history(self.videos)[queries][:, self.candidates]

    def by(self, vectors_ND: Vectors) -> Scorer:
        """Score by the normalized mean of the vectors of each user's last videos."""
        return by_history(vectors_ND, self.asked.recent(self.videos, self.last))

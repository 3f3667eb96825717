"""What users made of what they were shown: pairs and negatives, corrected for the position at which it was shown."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from rayreel.catalog.interactions import is_watched
from rayreel.evaluation.views import durations_of, numbers_of
from rayreel.evaluation.weights import STARS, view_weights
from rayreel.features.matrix import FeatureMatrix
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.edges import co_watched, heaviest, training_interactions
from rayreel.training.pairs.sources import NONE, codes_of

_REFUSALS = ("dislike", "hide")
_LIKES = ("like", "share")
_FIT_STEPS = 50
_CELLS_AT_ONCE = 2**23  # 100 MB per sparse matrix if everyone has seen everything


@dataclass(frozen=True, slots=True, eq=False)
class BehaviourLog:
    """R rows of a log of training videos, with what is known of each.

    key_R numbers the combinations of user and video, of which there are `keys`; of each, user_X and row_X. positions
    are NONE, propensities 1 if unknown. A row with neither a view nor a refusal is an impression, also a skip.
    """

    table: pa.Table
    user_R: NDArray[np.int64]
    row_R: NDArray[np.int64]
    key_R: NDArray[np.int64]
    watched_R: NDArray[np.bool_]
    refused_R: NDArray[np.bool_]
    position_R: NDArray[np.int64]
    propensity_R: NDArray[np.float64]
    opinion_R: NDArray[np.float32]
    videos: int

    @staticmethod
    def of(behaviour: pa.Table, matrix: FeatureMatrix, in_train_N: NDArray[np.bool_]) -> "BehaviourLog":
        """Read the rows of training videos of a table with the columns of `catalog.interactions.BEHAVIOUR`."""
        table, row_R = training_interactions(behaviour, matrix, in_train_N)
        user_R, type_R = codes_of(table["user_id"]), table["type"]
        stars = pc.if_else(pc.is_in(type_R, pa.array(_LIKES)), STARS, None)
        ratings_R = numbers_of(pc.coalesce(table["rating"], stars.cast(pa.float32())))
        position_R = numbers_of(table["position"])
        propensity_R = numbers_of(table["propensity"])
        return BehaviourLog(
            table,
            user_R,
            row_R,
            np.unique(user_R * len(matrix) + row_R, return_inverse=True)[1],
            np.asarray(is_watched(table)),
            np.asarray(pc.is_in(type_R, pa.array(_REFUSALS))),
            np.where(np.isnan(position_R), NONE, position_R).astype(np.int64),
            np.where(propensity_R > 0, propensity_R, 1.0),
            view_weights(ratings_R, numbers_of(table["dwell_s"]), durations_of(matrix)[row_R]),
            len(matrix),
        )

    def shown(self) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
        """Return a row for each user, video and known position, and whether the user watched the video there."""
        known_R = np.flatnonzero((self.position_R != NONE) & ~self.refused_R)
        places = self.key_R[known_R] * (self.position_R.max(initial=0) + 1) + self.position_R[known_R]
        _, first_S, of_R = np.unique(places, return_index=True, return_inverse=True)
        return known_R[first_S], np.bincount(of_R, self.watched_R[known_R], len(first_S)) > 0

    def any_of(self, rows_R: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return for each row whether one of these rows is of the same user and video."""
        return (np.bincount(self.key_R, rows_R) > 0)[self.key_R]


@dataclass(frozen=True, slots=True, eq=False)
class PositionModel:
    """The chance that a result is looked at by its position, 1 where it is highest, and the appeal of each video.

    The chance that video v at position k is watched is their product: the position-based model of Craswell et al. 2008,
    An Experimental Comparison of Click Position-Bias Models. What a ranking puts first is also what appeals most, so
    shares of views by position alone would not do; videos that were shown at several positions tell the two apart
    (Agarwal et al. 2019, Estimating Position Bias without Intrusive Interventions).
    """

    looked_at_P: NDArray[np.float64]
    appeal_N: NDArray[np.float64]

    @staticmethod
    def fit(log: BehaviourLog) -> "PositionModel":
        """Fit by alternating maximum likelihood of Poisson counts, from rows with a position.

        A user, video and position count once, as watched if any of their rows is a view.
        """
        shown_S, watched_S = log.shown()
        if not watched_S.any():
            return PositionModel(np.ones(int(log.position_R.max(initial=0)) + 1), np.zeros(log.videos))
        video_S, position_S = log.row_R[shown_S], log.position_R[shown_S]
        views_N, views_P = np.bincount(video_S, watched_S, log.videos), np.bincount(position_S, watched_S)
        looked_at_P = np.ones(len(views_P))
        for _ in range(_FIT_STEPS):
            appeal_N = _ratio(views_N, np.bincount(video_S, looked_at_P[position_S], log.videos))
            looked_at_P = _ratio(views_P, np.bincount(position_S, appeal_N[video_S]))
            looked_at_P /= max(looked_at_P.max(), np.finfo(np.float64).tiny)
        return PositionModel(looked_at_P, _ratio(views_N, np.bincount(video_S, looked_at_P[position_S], log.videos)))

    def chances(self, position_R: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the chance to be looked at, 1 if the position is unknown."""
        return np.where(position_R == NONE, 1.0, self.looked_at_P[np.maximum(position_R, 0)])


@dataclass(frozen=True, slots=True, eq=False)
class Behaviour:
    """A log, the model of its positions, and how much each row says: 0 for all but views of videos that were liked."""

    log: BehaviourLog
    positions: PositionModel
    weight_R: NDArray[np.float64]

    @staticmethod
    def of(
        behaviour: pa.Table, matrix: FeatureMatrix, in_train_N: NDArray[np.bool_], config: PairsConfig
    ) -> "Behaviour":
        """Weigh the rows of training videos.

        A view has the weight of the user's opinion, divided by the chance that the video was shown and looked at; this
        factor is at most `max_debiasing`. Source: inverse propensity scores as in Joachims et al. 2017, Unbiased
        Learning-to-Rank with Biased Feedback; clipping as in Strehl et al. 2010, Learning from Logged Implicit
        Exploration Data.
        """
        log = BehaviourLog.of(behaviour, matrix, in_train_N)
        positions = PositionModel.fit(log)
        seen_R = positions.chances(log.position_R) * log.propensity_R
        factor_R = np.minimum(1 / np.maximum(seen_R, np.finfo(np.float64).tiny), config.max_debiasing)
        # A like comes after the view that it is of; the strongest opinion of a video counts.
        opinion_X = np.zeros(int(log.key_R.max(initial=-1)) + 1)
        np.maximum.at(opinion_X, log.key_R[log.watched_R], log.opinion_R[log.watched_R])
        liked_R = log.watched_R & ~log.any_of(log.refused_R)
        return Behaviour(log, positions, np.where(liked_R, opinion_X[log.key_R] * factor_R, 0.0))

    def edges(self, config: PairsConfig) -> sparse.csr_array:
        """Return how often two videos were watched together, [N, N] symmetric, as the product of the views' weights.

        Only pairs that are watched together more often than by chance are kept.
        """
        first_R = self._first_views()
        together = co_watched(
            self.log.table.take(first_R), self.log.row_R[first_R], self.log.videos, config, self.weight_R[first_R]
        )
        return _above_chance(together)

    def skipped(self, config: PairsConfig) -> sparse.csr_array:
        """Return by how many views each video has fewer than expected from users who watched another one, [N, N].

        Entry [i, j] is of users who watched i and were shown j; expected is what position and appeal of j predict. A
        refusal is a view fewer. Of each row, the `co_liked_partners` largest are kept.
        """
        log, first_R = self.log, self._first_views()
        users = int(log.user_R.max(initial=-1)) + 1
        weight = (self.weight_R[first_R], (log.row_R[first_R], log.user_R[first_R]))
        watched_NU = sparse.csr_array(weight, shape=(log.videos, users))
        missing_UN = self._missing(users)
        chunk = max(1, _CELLS_AT_ONCE // max(1, log.videos))
        parts = []
        for first in range(0, log.videos, chunk):
            found = sparse.csr_array(watched_NU[first : first + chunk] @ missing_UN)
            found.data = np.maximum(found.data, 0).astype(np.float32)
            found.eliminate_zeros()
            parts.append(heaviest(found, first, config))
        return sparse.csr_array(sparse.vstack(parts))

    def _first_views(self) -> NDArray[np.int64]:
        """The first row of each user and video that has a weight."""
        chosen_R = np.flatnonzero(self.weight_R > 0)
        times_R = np.asarray(self.log.table["timestamp"].cast(pa.int64()))
        order = chosen_R[np.lexsort((times_R[chosen_R], self.log.key_R[chosen_R]))]
        return order[np.unique(self.log.key_R[order], return_index=True)[1]]

    def _missing(self, users: int) -> sparse.csr_array:
        """Expected minus actual views of each user and video, [U, N]."""
        log, (shown_S, watched_S) = self.log, self.log.shown()
        expected_S = self.positions.chances(log.position_R[shown_S]) * self.positions.appeal_N[log.row_R[shown_S]]
        once_S = shown_S[watched_S]
        once_S = once_S[np.unique(log.key_R[once_S], return_index=True)[1]]
        refused_R = np.flatnonzero(log.refused_R)
        rows = np.concatenate([shown_S, once_S, refused_R])
        values = np.concatenate([expected_S, -np.ones(len(once_S)), np.ones(len(refused_R))])
        return sparse.csr_array((values, (log.user_R[rows], log.row_R[rows])), shape=(users, log.videos))


def _ratio(above: NDArray[Any], below: NDArray[Any]) -> NDArray[np.float64]:
    ratio: NDArray[np.float64] = np.divide(above, below, out=np.zeros(len(above)), where=below > 0)
    return ratio


def _above_chance(together: sparse.csr_array) -> sparse.csr_array:
    """Drop pairs that are no more frequent than independent videos of their frequencies would be."""
    degree_N, total = together.sum(axis=1), together.sum()
    edges = sparse.coo_array(together)
    row, column = edges.coords
    kept = edges.data * total > degree_N[row] * degree_N[column]
    return sparse.csr_array((edges.data[kept], (row[kept], column[kept])), shape=edges.shape)

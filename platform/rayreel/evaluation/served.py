"""Users as the service answers them without a user tower: a list for each interest of a history, merged."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.scorers import Answer, Rows, Scorer, Scores
from rayreel.evaluation.users import UserQueries
from rayreel.tower.config import HALF_LIFE_S, HISTORY, INTERESTS
from rayreel.tower.interests import decayed, interests_of, mean_cosine_of

Unit = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class ServedUsers:
    """Ranks candidates for users as `recommend` does with default settings, given unit vectors_ND of all videos."""

    vectors_ND: Unit
    queries: UserQueries

    def scorer(self) -> Scorer:
        """Return the scorer: minus the rank in the merged list, without the history."""
        return self._for_candidates

    def _for_candidates(self, candidates: Rows) -> Answer:
        total_D = self.vectors_ND.sum(axis=0, dtype=np.float64)
        candidates_CD, mean_cosine = self.vectors_ND[candidates], mean_cosine_of(total_D, len(self.vectors_ND))
        return lambda queries: np.stack(
            [self._scores(int(query), candidates, candidates_CD, mean_cosine) for query in queries]
        )

    def _scores(self, query: int, candidates: Rows, candidates_CD: Unit, mean_cosine: float) -> Scores:
        own = slice(self.queries.offsets[query], self.queries.offsets[query + 1])
        items_H, seconds, weights = self.queries.items[own], self.queries.seconds, self.queries.weights
        weights_H = np.ones(len(items_H)) if weights is None else weights[own].astype(np.float64)
        ages_H = np.zeros(len(items_H)) if seconds is None else seconds[own].max() - seconds[own]
        liked_H = np.flatnonzero(weights_H > 0)[-HISTORY:]
        counts_H = decayed(weights_H[liked_H], ages_H[liked_H], HALF_LIFE_S)
        found = interests_of(self.vectors_ND[items_H[liked_H]], counts_H, mean_cosine, INTERESTS)
        if not found:
            return np.zeros(len(candidates), np.float32)
        units_ID = np.stack([sum_D / np.linalg.norm(sum_D) for sum_D, _ in found])
        cosines_IC = units_ID @ candidates_CD.T
        cosines_IC[:, np.isin(candidates, items_H)] = -np.inf
        return merged_scores(cosines_IC, np.array([share for _, share in found]))


def merged_scores(cosines_IC: NDArray[np.floating], shares_I: NDArray[np.float64]) -> Scores:
    """Return minus the rank of each candidate in the lists of I interests, merged as `recommendation.users.Interests`.

    >>> merged_scores(np.array([[0.9, 0.8, 0.1], [0.0, 0.1, 0.9]]), np.array([2.0, 1.0])).tolist()
    [0.0, -2.0, -1.0]
    """
    ranks_IC = np.argsort(np.argsort(-cosines_IC, axis=1, kind="stable"), axis=1) + 1
    positions_C = (ranks_IC / shares_I[:, None]).min(axis=0)
    order_C = np.lexsort((-cosines_IC.max(axis=0), positions_C))
    scores_C = np.empty(len(order_C), np.float32)
    scores_C[order_C] = -np.arange(len(order_C))
    return scores_C

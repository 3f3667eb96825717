"""Exact neighbours in the space of one encoder: its own vectors, averaged over each video."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rayreel.features.metric import Metric
from rayreel.recommendation.candidates import FIRST, Constraints, RankedCandidates, descending
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import BadQuery, Space, Vector

# Numbers converted from float16 at once: 2^22 are 16 MB, so memory does not grow with the release.
_CELLS = 1 << 22
_TINY = 1e-12


@dataclass(frozen=True, slots=True)
class SpaceSearch:
    """Compares one query with the vectors of every video of the release that has the modality.

    Scores are cosines or, with a distance, its negative: higher is nearer.
    """

    live: Live
    space: Space
    query_D: Vector

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` nearest allowed videos, or all if there are fewer."""
        live, parts = self.live, []
        for values_ND, present_N in live.space(self.space.modality):
            scores_N = closeness(values_ND, self.query_D, self.space.metric)
            scores_N[~present_N] = -np.inf
            parts.append(scores_N)
        parts[0][list(live.hidden)] = -np.inf
        scores_P = np.concatenate(parts)
        places = (place for place in descending(scores_P, max(FIRST, 2 * count)) if constraints.allows(live, place))
        kept = list(islice(places, count))
        return RankedCandidates(kept, scores_P[kept].tolist(), ["space"] * len(kept))


def closeness(values_ND: NDArray[np.float16], query_D: Vector, metric: Metric) -> NDArray[np.float32]:
    """Return the cosine of every row and the query, or the negative of their distance, [N].

    >>> closeness(np.array([[3, 0], [0, 4]], np.float16), np.array([0, 2], np.float32), Metric.L1).tolist()
    [-5.0, -2.0]
    """
    scores_N = np.empty(len(values_ND), np.float32)
    step = max(1, _CELLS // max(1, values_ND.shape[1]))
    for start in range(0, len(values_ND), step):
        x_RD = values_ND[start : start + step].astype(np.float32)
        scores_N[start : start + step] = _closeness(x_RD, query_D, metric)
    return scores_N


def _closeness(x_RD: NDArray[np.float32], query_D: Vector, metric: Metric) -> NDArray[np.float32]:
    if metric is Metric.COSINE:
        lengths_R = np.linalg.norm(x_RD, axis=1) * np.linalg.norm(query_D)
        cosines_R: NDArray[np.float32] = x_RD @ query_D / np.maximum(lengths_R, _TINY)
        return cosines_R
    x_RD -= query_D
    distances_R: NDArray[np.float32] = np.linalg.norm(x_RD, ord=1 if metric is Metric.L1 else 2, axis=1)
    return -distances_R


def vector_in(live: Live, space: Space, place: int) -> Vector:
    """Return the vector of the video at a place, float32 [D]. Raises BadQuery if it has none in this space."""
    parts = live.space(space.modality)
    (values_ND, present_N), row = (parts[0], place) if place < live.base else (parts[1], place - live.base)
    if not present_N[row]:
        raise BadQuery(f"{live.row(place).video_id!r} has no {space.modality} vector. Choose another space.")
    vector_D: Vector = values_ND[row].astype(np.float32)
    return vector_D

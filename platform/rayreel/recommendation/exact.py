"""Exact search: compare the query with every video. For a small release this is faster than any index."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rayreel.recommendation.candidates import Constraints, RankedCandidates, merged, overlay_candidates
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Vector
from rayreel.recommendation.statistics import NO

FIRST = 512


@dataclass(frozen=True, slots=True)
class ExactSearch:
    """Compares one unit query with every video of the release."""

    live: Live
    query_D: Vector

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` nearest allowed videos, or all if there are fewer."""
        live = self.live
        scores_N = live.embeddings_ND @ self.query_D
        scores_N[list(live.hidden)] = -np.inf
        if constraints.verdicts:
            scores_N[np.frombuffer(constraints.verdicts, np.uint8) == NO] = -np.inf
        places = (place for place in _descending(scores_N, max(FIRST, 2 * count)) if constraints.allows(live, place))
        kept = list(islice(places, count))
        found = RankedCandidates(kept, scores_N[kept].tolist(), ["index"] * len(kept))
        return merged(found, overlay_candidates(live, self.query_D, count, constraints), count)


def _descending(scores_N: NDArray[np.float32], first: int) -> Iterator[int]:
    """Yield places by falling score, except those at minus infinity. Sorts the rest only if `first` are consumed."""
    if first < len(scores_N):
        top_P = np.argpartition(-scores_N, first)[:first]
        yield from _sorted(scores_N, top_P)
        rest_N = np.ones(len(scores_N), bool)
        rest_N[top_P] = False
        yield from _sorted(scores_N, np.flatnonzero(rest_N))
    else:
        yield from _sorted(scores_N, np.arange(len(scores_N)))


def _sorted(scores_N: NDArray[np.float32], places_P: NDArray[np.int64]) -> list[int]:
    finite_P = places_P[np.isfinite(scores_N[places_P])]
    order: list[int] = finite_P[np.argsort(-scores_N[finite_P], kind="stable")].tolist()
    return order

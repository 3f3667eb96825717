"""Comparison with every video: what a small release is faster with than with any index, and never misses."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rayreel.recommend.candidates import Candidates, Wanted, merged, overlay_candidates
from rayreel.recommend.facts import NO
from rayreel.recommend.live import Live
from rayreel.recommend.query import Vector

# Numbers compared with a query: 2^25 are 65,536 videos of 512, which one core reads in about 15 ms.
EXACT_CELLS = 1 << 25
FIRST = 512


@dataclass(frozen=True, slots=True)
class Everything:
    """One unit query against every video of the release."""

    live: Live
    query_D: Vector

    def nearest(self, count: int, wanted: Wanted) -> Candidates:
        """The `count` nearest that are wanted, fewer only when there are."""
        live = self.live
        scores_N = live.embeddings_ND @ self.query_D
        scores_N[list(live.hidden)] = -np.inf
        if wanted.verdicts:
            scores_N[np.frombuffer(wanted.verdicts, np.uint8) == NO] = -np.inf
        places = (place for place in _descending(scores_N, max(FIRST, 2 * count)) if wanted.allows(live, place))
        listed = list(islice(places, count))
        found = Candidates(listed, scores_N[listed].tolist(), ["index"] * len(listed))
        return merged(found, overlay_candidates(live, self.query_D, count, wanted), count)


def _descending(scores_N: NDArray[np.float32], first: int) -> Iterator[int]:
    """Places by falling score, without those at minus infinity; sorts no more of them than are asked for."""
    if first < len(scores_N):
        top_P = np.argpartition(-scores_N, first)[:first]
        yield from _sorted(scores_N, top_P)
        rest_N = np.ones(len(scores_N), bool)
        rest_N[top_P] = False
        yield from _sorted(scores_N, np.flatnonzero(rest_N))
    else:
        yield from _sorted(scores_N, np.arange(len(scores_N)))


def _sorted(scores_N: NDArray[np.float32], places_P: NDArray[np.int64]) -> list[int]:
    there_P = places_P[np.isfinite(scores_N[places_P])]
    order: list[int] = there_P[np.argsort(-scores_N[there_P], kind="stable")].tolist()
    return order

"""Pair sources: draw a partner for an anchor."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NONE = -1


class Kind(IntEnum):
    """The source of a pair. The names are those of the weights in PairsConfig."""

    VIEWS = 0
    CO_WATCHED = 1
    CROSS_MODAL = 2
    LABEL = 3
    CO_LIKED = 4
    NOISE = 5


class PairSource(Protocol):
    """Draws partners for anchors; both are row numbers of the feature matrix and training rows only."""

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: rows that have a partner in this source."""
        ...

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a partner for each anchor, NONE for anchors without one in this source."""
        ...

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: expected number of draws of each row as a partner if each row is an anchor `weight_N` times."""
        ...


@dataclass(frozen=True, slots=True)
class SelfPairs:
    """Pairs each video with itself: views, cross-modal and noise pairs, which differ only in `make_views`."""

    rows_N: NDArray[np.bool_]

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: rows that have a pair."""
        return self.rows_N

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Return the anchors; consumes no random numbers."""
        return np.where(self.rows_N[anchors_J], anchors_J, NONE)

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: each row's own weight."""
        return weight_N * self.rows_N

"""Pair sources: who can give an anchor a partner."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

NONE = -1


class Kind(IntEnum):
    """Which source a pair comes from. The names are those of the weights in PairsConfig."""

    VIEWS = 0
    CO_WATCHED = 1
    CROSS_MODAL = 2
    LABEL = 3
    CO_LIKED = 4
    NOISE = 5


class PairSource(Protocol):
    """Partners for anchors, both as row numbers of the feature matrix and both from the training rows only."""

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: which rows it has a partner for."""
        ...

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """A partner drawn for each anchor, NONE where an anchor has none here."""
        ...

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: how often each row is drawn as partner when each row is an anchor `weight_N` times, on average."""
        ...


@dataclass(frozen=True, slots=True)
class SelfPairs:
    """A video is its own partner: views, cross-modal and noise pairs differ in what `make_views` shows of it."""

    rows_N: NDArray[np.bool_]

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: the rows it was given."""
        return self.rows_N

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """The anchors; draws no random number."""
        return np.where(self.rows_N[anchors_J], anchors_J, NONE)

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: where they are."""
        return weight_N * self.rows_N

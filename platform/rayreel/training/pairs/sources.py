"""Pair sources: ways to draw a partner for each anchor."""

from dataclasses import dataclass
from enum import IntEnum
from typing import Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from rayreel.errors import RayreelError

NONE = -1


class Kind(IntEnum):
    """The source of a pair. The names are those of the weights in PairsConfig."""

    VIEWS = 0
    CO_WATCHED = 1
    CROSS_MODAL = 2
    LABEL = 3
    CO_LIKED = 4
    NOISE = 5
    BEHAVIOUR = 6


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


class PairsImpossible(RayreelError):
    """A pair source has a weight, but the data contain no pairs for it."""


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return an integer code for each text [N], NONE for null and the empty text."""
    texts = column.combine_chunks()
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(texts, ""), None, texts))
    return np.asarray(encoded.indices.fill_null(NONE)).astype(np.int64)


@dataclass(frozen=True, slots=True)
class SameLabel:
    """Draws a partner uniformly from the other training rows of the anchor's label.

    members: labelled training rows, sorted by label. Row n is members[position_N[n]], the members of its label start at
    members[start_N[n]], and others_N[n] is their number without n; all zero for rows that are not members.
    """

    label_N: NDArray[np.int64]
    members: NDArray[np.int64]
    position_N: NDArray[np.int64]
    start_N: NDArray[np.int64]
    others_N: NDArray[np.int64]

    @staticmethod
    def of(label_N: NDArray[np.int64], train_rows: NDArray[np.int64]) -> "SameLabel":
        """Build the source from labels as returned by `codes_of`."""
        labelled = train_rows[label_N[train_rows] != NONE]
        members = labelled[np.argsort(label_N[labelled], kind="stable")]
        sorted_labels = label_N[members]
        start, end = (np.searchsorted(sorted_labels, sorted_labels, side) for side in ("left", "right"))
        position_N, start_N, others_N = np.zeros((3, len(label_N)), dtype=np.int64)
        position_N[members], start_N[members], others_N[members] = np.arange(len(members)), start, end - start - 1
        return SameLabel(label_N, members, position_N, start_N, others_N)

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: training rows whose label has another member."""
        has: NDArray[np.bool_] = self.others_N > 0
        return has

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw another member of each anchor's label, NONE for anchors without one."""
        has_J = self.others_N[anchors_J] > 0
        anchors = anchors_J[has_J]
        place = self.start_N[anchors] + rng.integers(0, self.others_N[anchors])
        partners_J = np.full(len(anchors_J), NONE)
        partners_J[has_J] = self.members[place + (place >= self.position_N[anchors])]
        return partners_J

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: each row's weight, distributed evenly over the other members of its label."""
        share_N = np.where(self.has_N(), weight_N / np.maximum(self.others_N, 1), 0)
        total = np.bincount(self.label_N[self.members], share_N[self.members])
        frequency_N = np.zeros(len(share_N))
        frequency_N[self.members] = total[self.label_N[self.members]] - share_N[self.members]
        return frequency_N


@dataclass(frozen=True, slots=True)
class Graph:
    """Draws partners along the edges of `weights`, sparse [N, N] without diagonal, in proportion to their weight.

    cumulative: [edges + 1], the total weight of the edges before each edge, and of all.
    """

    weights: sparse.csr_array
    cumulative: NDArray[np.float64]

    @staticmethod
    def of(weights: sparse.csr_array) -> "Graph":
        """Build the graph from edges with positive weights."""
        return Graph(weights, np.concatenate([[0.0], np.cumsum(weights.data, dtype=np.float64)]))

    def has_N(self) -> NDArray[np.bool_]:
        """[N]: rows with an edge."""
        has: NDArray[np.bool_] = np.diff(self.weights.indptr) > 0
        return has

    def partners(self, anchors_J: NDArray[np.int64], rng: np.random.Generator) -> NDArray[np.int64]:
        """Draw a neighbour for each anchor, NONE for anchors without one."""
        first_J, last_J = self.weights.indptr[anchors_J], self.weights.indptr[anchors_J + 1]
        low_J, high_J = self.cumulative[first_J], self.cumulative[last_J]
        edge_J = (
            np.searchsorted(self.cumulative, low_J + rng.random(len(anchors_J)) * (high_J - low_J), side="right") - 1
        )
        has_J = last_J > first_J
        partners_J = np.full(len(anchors_J), NONE)
        # Clipped, because rounding may move a target to the next row's first edge.
        partners_J[has_J] = self.weights.indices[np.minimum(edge_J, last_J - 1)[has_J]]
        return partners_J

    def partner_frequency(self, weight_N: NDArray[np.float64]) -> NDArray[np.float64]:
        """[N]: each row's weight, distributed along its edges."""
        total_N = self.cumulative[self.weights.indptr[1:]] - self.cumulative[self.weights.indptr[:-1]]
        share_N = np.divide(weight_N, total_N, out=np.zeros(len(weight_N)), where=total_N > 0)
        frequency_N: NDArray[np.float64] = self.weights.T @ share_N
        return frequency_N

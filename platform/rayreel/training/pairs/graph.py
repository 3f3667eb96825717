"""A weighted graph of videos from which partners are drawn."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rayreel.training.pairs.sources import NONE


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

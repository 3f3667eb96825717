"""Overlap of two videos' categories and tags."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import MultiLabelBinarizer


@dataclass(frozen=True, slots=True)
class LabelSets:
    """The set of category and tags of each video, as a sparse [N, labels] of ones."""

    sets: sparse.csr_array

    @staticmethod
    def of(categories: Sequence[str | None], tags: Sequence[Sequence[str] | None]) -> "LabelSets":
        """Build the sets, ignoring case and blank labels."""
        words = [
            {word.strip().casefold() for word in (category or "", *(own or ()))} - {""}
            for category, own in zip(categories, tags, strict=True)
        ]
        ones = MultiLabelBinarizer(sparse_output=True).fit_transform(words)
        return LabelSets(sparse.csr_array(ones, dtype=np.float32))

    def jaccard(self, rows_X: NDArray[np.int64], rows_Y: NDArray[np.int64]) -> NDArray[np.float32]:
        """[X, Y]: Jaccard index of the labels of two videos; 0 if neither has a label."""
        shared_XY = (self.sets[rows_X] @ self.sets[rows_Y].T).toarray()
        union_XY = self.sizes[rows_X][:, None] + self.sizes[rows_Y] - shared_XY
        index: NDArray[np.float32] = shared_XY / np.maximum(union_XY, 1)
        return index

    def overlapping(self, edges: sparse.csr_array, first: int, least: float) -> sparse.csr_array:
        """Keep the edges [X, N] whose videos have a Jaccard index of at least `least` (> 0); row 0 is row `first`."""
        own = slice(first, first + edges.shape[0])
        shared = sparse.coo_array((self.sets[own] @ self.sets.T).multiply(edges > 0))
        row, column = shared.coords
        union = self.sizes[own][row] + self.sizes[column] - shared.data
        enough = (shared.data / union >= least).astype(np.float32)
        chosen = sparse.csr_array((enough, (row, column)), shape=edges.shape)
        chosen.eliminate_zeros()
        return sparse.csr_array(edges.multiply(chosen))

    @property
    def sizes(self) -> NDArray[np.int32]:
        """[N]: number of labels per video."""
        sizes: NDArray[np.int32] = np.diff(self.sets.indptr)
        return sizes

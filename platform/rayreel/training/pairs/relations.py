"""Labels of two videos: how much they overlap, and whether the videos are alike or distinct."""

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import MultiLabelBinarizer
from torch import Tensor

from rayreel.training.pairs.sources import NONE


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


@dataclass(frozen=True, slots=True)
class Alike:
    """True for a video and itself, for equal codes (content, label; NONE equals nothing) and along edges.

    A `Relation` of row numbers: ids [X] and [Y] -> [X, Y] bool on their device. FILLER is alike only FILLER. Memory is
    that of the result; edges are looked up, never made dense.
    """

    codes: list[NDArray[np.int64]]
    edges: list[sparse.csr_array]
    copies: dict[torch.device, list[Tensor]] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, ids_X: Tensor, ids_Y: Tensor) -> Tensor:
        """Return whether the relation holds, [X, Y] bool."""
        alike_XY = ids_X.unsqueeze(1) == ids_Y.unsqueeze(0)
        for code_N in self._codes_on(ids_X.device):
            code_X, code_Y = _codes_at(code_N, ids_X).unsqueeze(1), _codes_at(code_N, ids_Y)
            alike_XY |= (code_X == code_Y) & (code_X != NONE)
        for edges in self.edges:
            linked_XY = _has_edge(edges, ids_X.cpu().numpy(), ids_Y.cpu().numpy())
            alike_XY |= torch.from_numpy(linked_XY).to(ids_X.device)
        return alike_XY

    def _codes_on(self, device: torch.device) -> list[Tensor]:
        """The codes on a device, where they stay: reading ids back from a GPU would wait for all its work."""
        if device not in self.copies:
            self.copies[device] = [torch.from_numpy(code_N).to(device) for code_N in self.codes]
        return self.copies[device]


@dataclass(frozen=True, slots=True)
class Distinct:
    """True if the labels of two videos have a Jaccard index of at most `max_jaccard`; a `Relation` of row numbers.

    Videos without labels are distinct from all. The result for FILLER is undefined.
    """

    labels: LabelSets
    max_jaccard: float

    def __call__(self, ids_X: Tensor, ids_Y: Tensor) -> Tensor:
        """Return whether the relation holds, [X, Y] bool."""
        jaccard_XY = self.labels.jaccard(ids_X.cpu().numpy(), ids_Y.cpu().numpy())
        return torch.from_numpy(jaccard_XY <= self.max_jaccard).to(ids_X.device)


def _codes_at(code_N: Tensor, ids_X: Tensor) -> Tensor:
    """Codes of rows, NONE for FILLER."""
    return code_N[ids_X.clamp(min=0)].masked_fill(ids_X < 0, NONE)


def _has_edge(edges: sparse.csr_array, rows_X: NDArray[np.int64], rows_Y: NDArray[np.int64]) -> NDArray[np.bool_]:
    """[X, Y]: whether there is an edge. FILLER has none."""
    # scipy's edges[rows_X][:, rows_Y] allocates memory proportional to all rows, in every training step.
    names, position_Y = np.unique(rows_Y, return_inverse=True)
    own = edges[np.maximum(rows_X, 0)]
    owner = np.repeat(np.arange(len(rows_X)), np.diff(own.indptr))
    hit = np.isin(own.indices, names) & (rows_X[owner] >= 0)
    linked = np.zeros((len(rows_X), len(names)), dtype=np.bool_)
    linked[owner[hit], np.searchsorted(names, own.indices[hit])] = True
    return linked[:, position_Y]

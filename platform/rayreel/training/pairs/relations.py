"""Relations between videos that determine positives and permitted negatives of a loss."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from torch import Tensor

from rayreel.training.pairs.jaccard import LabelSets
from rayreel.training.pairs.sources import NONE


@dataclass(frozen=True, slots=True)
class Alike:
    """True for a video and itself, for equal codes (content, label; NONE equals nothing) and along edges.

    A `Relation` of row numbers: ids [X] and [Y] -> [X, Y] bool on their device. FILLER is alike only FILLER. Memory is
    that of the result; edges are looked up, never made dense.
    """

    codes: list[NDArray[np.int64]]
    edges: list[sparse.csr_array]

    def __call__(self, ids_X: Tensor, ids_Y: Tensor) -> Tensor:
        """Return whether the relation holds, [X, Y] bool."""
        alike_XY = ids_X.unsqueeze(1) == ids_Y.unsqueeze(0)
        rows_X, rows_Y = ids_X.cpu().numpy(), ids_Y.cpu().numpy()
        for code_N in self.codes:
            code_X = torch.from_numpy(_codes_at(code_N, rows_X)).to(ids_X.device).unsqueeze(1)
            code_Y = torch.from_numpy(_codes_at(code_N, rows_Y)).to(ids_Y.device)
            alike_XY |= (code_X == code_Y) & (code_X != NONE)
        for edges in self.edges:
            alike_XY |= torch.from_numpy(_has_edge(edges, rows_X, rows_Y)).to(ids_X.device)
        return alike_XY


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


def _codes_at(code_N: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Codes of rows, NONE for FILLER."""
    return np.where(rows >= 0, code_N[rows], NONE)


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

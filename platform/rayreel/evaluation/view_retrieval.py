"""View retrieval: find the other half of the same video. The task for catalogs without labels and interactions."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.config import MODALITY_DROPOUT
from rayreel.evaluation.retrieval import one_hot, shuffled
from rayreel.evaluation.scorers import Rows, Scorer, Vectors, by_embedding
from rayreel.features.matrix import FeatureMatrix, Ragged

VIEWS = "views"


@dataclass(frozen=True, slots=True)
class ViewTask:
    """Queries and candidates are views; the other view of the query's video is the only relevant candidate.

    Views v and v + V / 2 are of one video. Other videos of its group (cuts of the same source) are excluded.
    """

    queries: NDArray[np.int64]
    candidates: NDArray[np.int64]
    groups_V: NDArray[np.int64]

    @staticmethod
    def of(held_out_R: NDArray[np.bool_], groups_R: NDArray[np.int64]) -> "ViewTask":
        """Make both views of the held-out videos queries, and both views of all R videos candidates."""
        groups_V = np.unique(np.tile(groups_R, 2), return_inverse=True)[1]
        return ViewTask(np.flatnonzero(np.tile(held_out_R, 2)), shuffled(np.arange(len(groups_V))), groups_V)

    @property
    def clusters(self) -> NDArray[np.int64]:
        """The queries' groups."""
        return self.groups_V[self.queries]

    def relevant(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the other view of the same video."""
        views = len(self.candidates)
        place_V = np.argsort(self.candidates)
        return one_hot(place_V[(queries + views // 2) % views], views).astype(np.bool_)

    def excluded(self, queries: Rows) -> sparse.csr_array:
        """[q, C]: the query itself and other videos of its group."""
        groups = int(self.groups_V.max()) + 1
        members_GC = one_hot(self.groups_V[self.candidates], groups).T.tocsr()
        same_QC = (one_hot(self.groups_V[queries], groups) @ members_GC).astype(np.bool_)
        return (same_QC > self.relevant(queries)).tocsr()

    def by(self, vectors_ND: Vectors) -> Scorer:
        """Score by the inner product of the two views."""
        return by_embedding(vectors_ND)


def splittable(matrix: FeatureMatrix) -> NDArray[np.bool_]:
    """[N]: videos with at least two vectors of one modality, so that both views have one."""
    divisible_N: NDArray[np.bool_] = np.any([matrix.vectors[m].counts >= 2 for m in Modality], axis=0)
    return divisible_N


def two_views(matrix: FeatureMatrix, rows_R: NDArray[np.int64], seed: int = 0) -> FeatureMatrix:
    """Return 2R rows: the first views of these videos, then their second views. The videos must be splittable.

    Each vector is in one view at most: frames and audio windows are divided at random, and a single vector such as
    text, which would make the match trivial, is in only one of the views. Each modality of a view is then dropped with
    probability 0.3, unless none would be left. In training, a single vector is in both views.
    """
    random = np.random.default_rng(seed)
    first = {m: _first_view(matrix.vectors[m].counts[rows_R], random) for m in Modality}
    has_M2R = np.array([_per_view(first[m], matrix.vectors[m].counts[rows_R]) for m in Modality]) > 0
    kept_M2R = has_M2R & (random.random(has_M2R.shape) >= MODALITY_DROPOUT)
    kept_M2R |= has_M2R & ~kept_M2R.any(axis=0)
    vectors = {m: _viewed(matrix.vectors[m], rows_R, first[m], kept_M2R[n]) for n, m in enumerate(Modality)}
    return FeatureMatrix(vectors, matrix.rows.take(np.tile(rows_R, 2)))


def _first_view(counts_R: NDArray[np.int64], random: np.random.Generator) -> NDArray[np.bool_]:
    """[sum of counts]: whether each vector is in the first view: half of each video's, and the odd one by chance."""
    owner = np.repeat(np.arange(len(counts_R)), counts_R)
    order = np.lexsort((random.random(len(owner)), owner))
    place = np.arange(len(owner)) - (np.cumsum(counts_R) - counts_R)[owner]
    first = np.empty(len(owner), np.bool_)
    first[order] = place < ((counts_R + random.integers(2, size=len(counts_R))) // 2)[owner]
    return first


def _per_view(first: NDArray[np.bool_], counts_R: NDArray[np.int64]) -> NDArray[np.int64]:
    """[2, R]: vectors in each view."""
    ones_R = np.bincount(np.repeat(np.arange(len(counts_R)), counts_R), first, len(counts_R)).astype(np.int64)
    return np.stack([ones_R, counts_R - ones_R])


def _viewed(ragged: Ragged, rows_R: NDArray[np.int64], first: NDArray[np.bool_], kept_2R: NDArray[np.bool_]) -> Ragged:
    counts_R = ragged.counts[rows_R]
    owner = np.repeat(np.arange(len(rows_R)), counts_R)
    source = np.arange(len(owner)) + (ragged.offsets[rows_R] - np.cumsum(counts_R) + counts_R)[owner]
    chosen = [source[side & kept_R[owner]] for side, kept_R in zip((first, ~first), kept_2R, strict=True)]
    counts = (_per_view(first, counts_R) * kept_2R).ravel()
    return Ragged(ragged.values[np.concatenate(chosen)], np.concatenate([[0], np.cumsum(counts)]))

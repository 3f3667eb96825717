"""Co-liked: videos with overlapping labels that the same users rated highly."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from rayreel.training.pairs.codes import codes_of
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.jaccard import LabelSets

_CELLS_AT_ONCE = 2**23  # 100 MB per sparse matrix if all users like all videos


def co_liked(
    interactions: pa.Table, rows_I: NDArray[np.int64], labels: LabelSets, config: PairsConfig
) -> sparse.csr_array:
    """Return the co-liked edges [N, N], symmetric, weighted by the number of users who liked both videos.

    A rating of at least `min_rating` is a like; interactions without a rating are ignored. The videos' labels must
    have a Jaccard index of at least `min_jaccard`. An edge is kept if it is among the `co_liked_partners` heaviest of
    either video.
    """
    count = labels.sets.shape[0]
    likes_UN = _likes(interactions, rows_I, count, config.min_rating)
    likes_NU = sparse.csr_array(likes_UN.T)
    chunk = max(1, _CELLS_AT_ONCE // max(1, count))
    parts = []
    for first in range(0, count, chunk):
        together = sparse.csr_array(likes_NU[first : first + chunk] @ likes_UN)
        parts.append(_heaviest(labels.overlapping(together, first, config.min_jaccard), first, config))
    edges = sparse.csr_array(sparse.vstack(parts))
    return sparse.csr_array(edges.maximum(edges.T))


def _likes(interactions: pa.Table, rows_I: NDArray[np.int64], count: int, min_rating: float) -> sparse.csr_array:
    """[users, N]: 1 for each liked video, regardless of repeated ratings."""
    liked_I = np.asarray(pc.fill_null(pc.greater_equal(interactions["rating"], min_rating), False))
    user_I = codes_of(interactions["user_id"])[liked_I]
    likes = sparse.csr_array(
        (np.ones(len(user_I), np.float32), (user_I, rows_I[liked_I])), shape=(user_I.max(initial=0) + 1, count)
    )
    likes.data[:] = 1
    return likes


def _heaviest(edges: sparse.csr_array, first: int, config: PairsConfig) -> sparse.csr_array:
    """The heaviest edges of each row without self-loops; the first row is row `first` of the matrix."""
    coo = sparse.coo_array(edges)
    row, column = coo.coords
    other = row + first != column
    row, column, weight = row[other], column[other], coo.data[other]
    order = np.lexsort((column, -weight, row))
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    best = order[place < config.co_liked_partners]
    return sparse.csr_array((weight[best], (row[best], column[best])), shape=edges.shape)

"""Edges between videos from interactions: watched by the same users soon after one another, or liked by both."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray
from scipy import sparse

from rayreel.features.matrix import FeatureMatrix
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.relations import LabelSets
from rayreel.training.pairs.sources import NONE, codes_of

_CELLS_AT_ONCE = 2**23  # 100 MB per sparse matrix if all users like all videos


def training_interactions(
    interactions: pa.Table, matrix: FeatureMatrix, in_train_N: NDArray[np.bool_]
) -> tuple[pa.Table, NDArray[np.int64]]:
    """Return the interactions with training videos, and the matrix row of each."""
    found = pc.index_in(interactions["video_id"], value_set=matrix.rows["video_id"].combine_chunks())
    rows = np.asarray(found.fill_null(NONE)).astype(np.int64)
    kept = (rows != NONE) & in_train_N[rows]
    return interactions.filter(pa.array(kept)), rows[kept]


def co_watched(
    interactions: pa.Table,
    rows_I: NDArray[np.int64],
    count: int,
    config: PairsConfig,
    weight_I: NDArray[np.float64] | None = None,
) -> sparse.csr_array:
    """Return how often two videos were watched together, over all users: [count, count], symmetric.

    Together means by one user within `co_watch_window_s` or, with `session_gap_s`, in one session; and at most
    `co_watch_reach` watches apart. With `weight_I`, two watches count as the product of their weights. At most
    2 · reach · interactions entries.
    """
    user_I = codes_of(interactions["user_id"])
    moment_I = np.asarray(pc.cast(interactions["timestamp"], pa.timestamp("us", tz="UTC")).cast(pa.int64())) / 1e6
    order = np.lexsort((rows_I, moment_I, user_I))
    row_I, moment_I = rows_I[order], moment_I[order]
    weight_I = np.ones(len(order)) if weight_I is None else weight_I[order]
    session_I = _sessions(user_I[order], moment_I, config.session_gap_s)
    window_s = config.co_watch_window_s if config.session_gap_s is None else np.inf
    edges = sparse.csr_array((count, count), dtype=np.float32)
    for lag in range(1, config.co_watch_reach + 1):
        earlier_I, later_I = row_I[:-lag], row_I[lag:]
        together = (session_I[lag:] == session_I[:-lag]) & (moment_I[lag:] - moment_I[:-lag] <= window_s)
        # If no pair lies within the window at this lag, none does at a longer one.
        if not together.any():
            break
        together &= earlier_I != later_I
        pairs = (earlier_I[together], later_I[together])
        weights = (weight_I[:-lag] * weight_I[lag:])[together].astype(np.float32)
        edges = edges + sparse.csr_array((weights, pairs), shape=(count, count))
    return sparse.csr_array(edges + edges.T)


def _sessions(
    user_I: NDArray[np.int64], moment_I: NDArray[np.float64], session_gap_s: float | None
) -> NDArray[np.int64]:
    """[I]: a number per user, or per session of a user; interactions are sorted by user and time."""
    new = np.diff(user_I, prepend=NONE) != 0
    if session_gap_s is not None:
        new |= np.diff(moment_I, prepend=-np.inf) > session_gap_s
    return np.cumsum(new)


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
        parts.append(heaviest(labels.overlapping(together, first, config.min_jaccard), first, config))
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


def heaviest(edges: sparse.csr_array, first: int, config: PairsConfig) -> sparse.csr_array:
    """The heaviest edges of each row without self-loops; the first row is row `first` of the matrix."""
    coo = sparse.coo_array(edges)
    row, column = coo.coords
    other = row + first != column
    row, column, weight = row[other], column[other], coo.data[other]
    order = np.lexsort((column, -weight, row))
    place = np.arange(len(order)) - np.searchsorted(row[order], row[order])
    best = order[place < config.co_liked_partners]
    return sparse.csr_array((weight[best], (row[best], column[best])), shape=edges.shape)

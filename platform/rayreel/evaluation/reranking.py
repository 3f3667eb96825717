"""k-reciprocal re-ranking: two videos are close if they are in each other's neighbourhoods, and those overlap."""

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

_SHARE = 2 / 3


def reranked(unit_ND: NDArray[np.float32], k1: int = 20, k2: int = 6, original: float = 0.3) -> NDArray[np.float32]:
    """Return similarities [N, N]: the Jaccard index of neighbourhoods, and the cosine with the share `original`.

    Memory: a few arrays of N x N. Source: Zhong et al. 2017, Re-ranking Person Re-identification with k-reciprocal
    Encoding, whose defaults these are.
    """
    cosine_NN = unit_ND @ unit_ND.T
    order_NK = np.argsort(-cosine_NN, axis=1, kind="stable")[:, : k1 + 1]  # a video is its own first neighbour
    expanded_NN = _expanded(_reciprocal(order_NK), _reciprocal(order_NK[:, : k1 // 2 + 1]))
    weight_NN = expanded_NN.multiply(np.exp(cosine_NN - 1)).tocsr()
    weight_NN = normalize(weight_NN, norm="l1")
    averaged_NN = _indicator(order_NK[:, :k2]).astype(np.float32) @ weight_NN / k2
    jaccard_NN = _jaccard(averaged_NN.tocsc())
    return ((1 - original) * jaccard_NN + original * cosine_NN).astype(np.float32)


def _indicator(order_NK: NDArray[np.int64]) -> sparse.csr_array:
    count, k = order_NK.shape
    ones = np.ones(order_NK.size, np.int32)
    return sparse.csr_array((ones, (np.repeat(np.arange(count), k), order_NK.ravel())), (count, count))


def _reciprocal(order_NK: NDArray[np.int64]) -> sparse.csr_array:
    """[N, N]: 1 where both videos are among the nearest of the other."""
    near_NN = _indicator(order_NK)
    return near_NN.multiply(near_NN.T).tocsr()


def _expanded(near_NN: sparse.csr_array, half_NN: sparse.csr_array) -> sparse.csr_array:
    """Add the smaller neighbourhood of each neighbour if two thirds of it are neighbours already."""
    shared_NN = (near_NN @ half_NN.T).multiply(near_NN).tocoo()
    sizes_N = np.asarray(half_NN.sum(axis=1))
    kept = shared_NN.data >= _SHARE * sizes_N[shared_NN.col]
    close_NN = sparse.csr_array(
        (np.ones(kept.sum(), np.int32), (shared_NN.row[kept], shared_NN.col[kept])), near_NN.shape
    )
    return ((near_NN + close_NN @ half_NN) > 0).astype(np.float32)


def _jaccard(weight_NN: sparse.csc_array) -> NDArray[np.float32]:
    """Σ min / Σ max of every two rows, whose sums are 1; column by column, since rows share few of them."""
    overlap_NN = np.zeros(weight_NN.shape, np.float32)
    for start, end in zip(weight_NN.indptr[:-1], weight_NN.indptr[1:], strict=True):
        rows, values = weight_NN.indices[start:end], weight_NN.data[start:end]
        overlap_NN[np.ix_(rows, rows)] += np.minimum.outer(values, values)
    jaccard_NN: NDArray[np.float32] = overlap_NN / (2 - overlap_NN)
    return jaccard_NN

"""Smoothing: each video's vector averaged with those of its nearest videos, computed once, before any search."""

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from rayreel.tower.config import Smoothing

Unit = NDArray[np.float32]


def smoothed(unit_ND: Unit, smoothing: Smoothing) -> Unit:
    """Return unit vectors [N, D]: each averaged with its nearest others; exact. Time grows with N².

    >>> x_ND = np.array([[1, 0], [0.8, 0.6], [0, -1]], np.float32)
    >>> print(smoothed(x_ND, Smoothing(neighbours=1, alpha=0)).round(3))
    [[ 0.949  0.316]
     [ 0.949  0.316]
     [ 0.    -1.   ]]
    """
    width = min(smoothing.neighbours, len(unit_ND) - 1)
    if width < 1:
        return unit_ND
    nearest_NK = NearestNeighbors(n_neighbors=width, algorithm="brute").fit(unit_ND).kneighbors()[1]
    return averaged(unit_ND, unit_ND, nearest_NK, smoothing.alpha)


def averaged(unit_QD: Unit, others_ND: Unit, nearest_QK: NDArray[np.integer], alpha: float) -> Unit:
    """Return unit vectors [Q, D]: the sum of each and of its K nearest in `others_ND`, weighted by cosine ** alpha.

    A cosine below 0 has no weight. Zero vectors stay zero. Sources: Arandjelović & Zisserman 2012, database-side
    feature augmentation; Radenović et al. 2018, alpha query expansion.
    """
    sums_QD = unit_QD.copy()
    for nearest_Q in nearest_QK.T:  # one rank at a time: [Q, K, D] may not fit into memory
        near_QD = others_ND[nearest_Q]
        cosine_Q = np.einsum("qd,qd->q", unit_QD, near_QD)
        sums_QD += (np.maximum(cosine_Q, 0) ** alpha * (cosine_Q > 0))[:, None] * near_QD
    sums_QD /= np.maximum(np.linalg.norm(sums_QD, axis=1, keepdims=True), np.finfo(np.float32).tiny)
    return sums_QD

"""Corrections by neighbours: vectors averaged with their nearest, and scores without hubs."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors
from sklearn.preprocessing import normalize


@dataclass(frozen=True, slots=True)
class NearestVideos:
    """The K nearest other videos of each video, nearest first: rows [N, K] and cosines [N, K]."""

    rows_NK: NDArray[np.int64]
    cosines_NK: NDArray[np.float32]

    @staticmethod
    def of(unit_ND: NDArray[np.float32], k: int) -> "NearestVideos":
        """Search exactly; k is at most the number of other videos."""
        found = NearestNeighbors(n_neighbors=min(k, len(unit_ND) - 1), algorithm="brute").fit(unit_ND)
        distance_NK, rows_NK = found.kneighbors()
        return NearestVideos(rows_NK, (1 - distance_NK**2 / 2).astype(np.float32))

    def averaged(self, unit_ND: NDArray[np.float32], k: int, alpha: float = 0) -> NDArray[np.float32]:
        """Return unit vectors [N, D]: the sum of each with its k nearest, weighted by cosine to the power alpha.

        Sources: Arandjelović & Zisserman 2012, database-side augmentation; Radenović et al. 2018, alpha query
        expansion.
        """
        weight_NK = np.maximum(self.cosines_NK[:, :k], 0) ** alpha
        summed_ND = unit_ND + np.einsum("nk,nkd->nd", weight_NK, unit_ND[self.rows_NK[:, :k]], optimize=True)
        averaged_ND: NDArray[np.float32] = normalize(summed_ND).astype(np.float32)
        return averaged_ND

    def crowding(self, k: int) -> NDArray[np.float32]:
        """Return each video's mean cosine with its k nearest, [N]: high for hubs, which are near to everything."""
        crowding_N: NDArray[np.float32] = self.cosines_NK[:, :k].mean(axis=1)
        return crowding_N

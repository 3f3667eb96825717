"""Memory of who watched what: how much each video of a history speaks for every other one, without content."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import sparse

# Weights of more videos take more than 50 MB, and their inverse minutes.
MOST_REMEMBERED = 5_000


@dataclass(frozen=True, slots=True, eq=False)
class WatchMemory:
    """weights_KK [a video of a history, a candidate] by code; zero for the code 0. `decay`: per rank from the newest.

    `weight`: of the sum in the score of a user tower.
    """

    weights_KK: NDArray[np.float16]
    decay: float
    weight: float

    def scores(self, codes_BL: NDArray[np.int64]) -> NDArray[np.float32]:
        """Return what B histories, by codes from the newest on and padded with 0, say of every code, [B, K]."""
        people, length = codes_BL.shape
        decays_L = (self.weight * self.decay ** np.arange(length)).astype(np.float32)
        places = np.repeat(np.arange(people), length), codes_BL.ravel()
        history_BK = sparse.csr_array((np.tile(decays_L, people), places), (people, len(self.weights_KK)))
        known_J = np.flatnonzero(np.bincount(codes_BL.ravel(), minlength=len(self.weights_KK)))
        scores_BK: NDArray[np.float32] = history_BK[:, known_J] @ self.weights_KK[known_J].astype(np.float32)
        return scores_BK


def memorised(watched_UK: sparse.csr_array, regularisation: float) -> NDArray[np.float32]:
    """Return the weights [K, K] by which what people watched is best explained by what else they watched.

    Source: Steck 2019, Embarrassingly Shallow Autoencoders (EASE).
    """
    watched = watched_UK.astype(np.float64)
    gram_KK = (watched.T @ watched).toarray()
    gram_KK[np.diag_indices_from(gram_KK)] += regularisation
    inverse_KK = np.linalg.inv(gram_KK)
    weights_KK: NDArray[np.float32] = (inverse_KK / -np.diag(inverse_KK)).astype(np.float32)
    np.fill_diagonal(weights_KK, 0)
    return weights_KK

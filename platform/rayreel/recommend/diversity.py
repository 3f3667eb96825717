"""Results that are near the query and not all alike."""

import numpy as np
from numpy.typing import NDArray


def most_different(
    scores_P: NDArray[np.float32], vectors_PD: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Choose up to `count` of P candidates, by maximal marginal relevance, in the order they are chosen.

    Each choice is the candidate with the highest λ · score - (1 - λ) · its highest cosine to those chosen before, where
    λ = 1 - diversity; vectors are of unit length. Source: Carbonell and Goldstein 1998, The Use of MMR.
    """
    relevance_P = (1 - diversity) * np.asarray(scores_P, np.float32)
    nearest_P = np.full(len(relevance_P), -np.inf, np.float32)
    open_P = np.ones(len(relevance_P), bool)
    chosen: list[int] = []
    for _ in range(min(count, len(relevance_P))):
        # The first choice has nothing to differ from: it is the most relevant.
        worth_P = relevance_P - diversity * nearest_P if chosen else np.asarray(scores_P, np.float32)
        best = int(np.argmax(np.where(open_P, worth_P, -np.inf)))
        chosen.append(best)
        open_P[best] = False
        nearest_P = np.maximum(nearest_P, vectors_PD @ vectors_PD[best])
    return chosen

"""Diversity: results that are near the query but not all alike."""

import numpy as np
from numpy.typing import NDArray


def select_diverse(
    scores_P: NDArray[np.float32], vectors_PD: NDArray[np.float32], count: int, diversity: float
) -> list[int]:
    """Select up to `count` of P candidates by maximal marginal relevance; returns them in the order of selection.

    Each step selects the candidate with the highest λ · score - (1 - λ) · its highest cosine to those already selected,
    where λ = 1 - diversity; vectors are of unit length. Source: Carbonell and Goldstein 1998, The Use of MMR.

    >>> scores_P = np.array([0.9, 0.89, 0.5], np.float32)
    >>> vectors_PD = np.array([[1, 0], [1, 0], [0, 1]], np.float32)  # the first two are alike
    >>> select_diverse(scores_P, vectors_PD, 2, diversity=0.0), select_diverse(scores_P, vectors_PD, 2, diversity=0.5)
    ([0, 1], [0, 2])
    """
    relevance_P = (1 - diversity) * np.asarray(scores_P, np.float32)
    nearest_P = np.full(len(relevance_P), -np.inf, np.float32)
    open_P = np.ones(len(relevance_P), bool)
    chosen: list[int] = []
    for _ in range(min(count, len(relevance_P))):
        # The first step has nothing to compare with: it selects the most relevant.
        marginal_P = relevance_P - diversity * nearest_P if chosen else np.asarray(scores_P, np.float32)
        best = int(np.argmax(np.where(open_P, marginal_P, -np.inf)))
        chosen.append(best)
        open_P[best] = False
        nearest_P = np.maximum(nearest_P, vectors_PD @ vectors_PD[best])
    return chosen

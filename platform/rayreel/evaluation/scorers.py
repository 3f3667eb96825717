"""Scorers: compute a relevance score for each query and candidate."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Vectors: TypeAlias = "NDArray[np.float32] | sparse.csr_array"
"""One vector per video, [N, D]; the inner product of two vectors is the similarity of the videos."""

Answer = Callable[[Rows], Scores]
"""Q queries -> scores [Q, C]."""

Scorer = Callable[[Rows], Answer]
"""Row numbers of C candidates -> a function that scores queries. Two steps, so that a scorer can prepare once."""


def by_embedding(vectors_ND: Vectors) -> Scorer:
    """Score video queries by the inner product of query and candidate, the cosine for unit vectors."""
    return lambda candidates: _products(vectors_ND, vectors_ND[candidates])


def by_history(vectors_ND: Vectors, weights_QN: sparse.csr_array) -> Scorer:
    """Score user queries; a user's vector is the normalised weighted mean of the vectors of their videos."""

    def for_candidates(candidates: Rows) -> Answer:
        candidates_CD = vectors_ND[candidates]
        return lambda queries: _product(normalize(weights_QN[queries] @ vectors_ND), candidates_CD)

    return for_candidates


def by_value(value_N: NDArray[np.float32]) -> Scorer:
    """Score every query by the same value per video, such as popularity."""
    return lambda candidates: lambda queries: np.broadcast_to(value_N[candidates], (len(queries), len(candidates)))


def by_chance(seed: int = 0) -> Scorer:
    """Score at random, reproducibly for the same query, candidates and seed."""
    return lambda candidates: (
        lambda queries: np.stack(
            [np.random.default_rng([seed, int(query)]).random(len(candidates), dtype=np.float32) for query in queries]
        )
    )


def _products(vectors_ND: Vectors, candidates_CD: Vectors) -> Answer:
    return lambda queries: _product(vectors_ND[queries], candidates_CD)


def _product(x_QD: Vectors, y_CD: Vectors) -> Scores:
    product: Any = x_QD @ y_CD.T
    scores: Scores = product.toarray() if sparse.issparse(product) else product
    return scores

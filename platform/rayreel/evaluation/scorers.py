"""Scorers: how well each candidate suits each query."""

from collections.abc import Callable
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray
from scipy import sparse
from sklearn.preprocessing import normalize

Rows = NDArray[np.int64]
Scores = NDArray[np.float32]
Vectors: TypeAlias = "NDArray[np.float32] | sparse.csr_array"
"""One vector per video, [N, D], whose inner products say how alike two videos are."""

Answer = Callable[[Rows], Scores]
"""Q queries -> scores [Q, C]."""

Scorer = Callable[[Rows], Answer]
"""Row numbers of C candidates -> what answers queries about them. In two steps, for a scorer to prepare once."""


def by_embedding(vectors_ND: Vectors) -> Scorer:
    """Queries are videos; the score is the inner product of query and candidate, the cosine for unit vectors."""
    return lambda candidates: _products(vectors_ND, vectors_ND[candidates])


def by_history(vectors_ND: Vectors, weights_QN: sparse.csr_array) -> Scorer:
    """Queries are users; a user's vector is the normalized weighted mean of their videos' vectors."""

    def against(candidates: Rows) -> Answer:
        shown_CD = vectors_ND[candidates]
        return lambda queries: _product(normalize(weights_QN[queries] @ vectors_ND), shown_CD)

    return against


def by_value(value_N: NDArray[np.float32]) -> Scorer:
    """The same for every query, such as popularity."""
    return lambda candidates: lambda queries: np.broadcast_to(value_N[candidates], (len(queries), len(candidates)))


def by_chance(seed: int = 0) -> Scorer:
    """Random scores, the same for the same query, candidates and seed."""
    return lambda candidates: (
        lambda queries: np.stack(
            [np.random.default_rng([seed, int(query)]).random(len(candidates), dtype=np.float32) for query in queries]
        )
    )


def _products(vectors_ND: Vectors, shown_CD: Vectors) -> Answer:
    return lambda queries: _product(vectors_ND[queries], shown_CD)


def _product(x_QD: Vectors, y_CD: Vectors) -> Scores:
    product: Any = x_QD @ y_CD.T
    scores: Scores = product.toarray() if sparse.issparse(product) else product
    return scores

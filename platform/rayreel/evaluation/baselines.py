"""What any tower has to beat: scores that need no training."""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix, mean_pooled

Scorer = Callable[[NDArray[np.int64]], NDArray[np.float32]]
"""Row numbers of Q queries -> scores of all N videos for each, [Q, N]."""


def by_embedding(embeddings_ND: NDArray[np.float32]) -> Scorer:
    """Cosine of unit embeddings."""
    return lambda rows: embeddings_ND[rows] @ embeddings_ND.T


def by_chance(matrix: FeatureMatrix, seed: int = 0) -> Scorer:
    """Random scores, the same for the same rows and seed."""
    return lambda rows: np.stack(
        [np.random.default_rng([seed, int(row)]).random(len(matrix), dtype=np.float32) for row in rows]
    )


def by_titles(matrix: FeatureMatrix) -> Scorer:
    """TF-IDF of the titles' words, cosine. A catalog whose titles hold no word scores nothing above anything."""
    titles = matrix.column("title")
    if not any(any(letter.isalnum() for letter in title) for title in titles):
        return lambda rows: np.zeros((len(rows), len(matrix)), np.float32)
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32)  # noqa: S106 - a regex
    words = vectorizer.fit_transform(titles)
    return lambda rows: (words[rows] @ words.T).toarray()


def by_pooled_features(matrix: FeatureMatrix, weights: dict[Modality, float]) -> Scorer:
    """Weighted sum of the cosines of mean-pooled features; an absent modality adds nothing."""
    pooled = {m: normalize(mean_pooled(matrix.vectors[m])) for m in weights}
    return lambda rows: np.sum([w * (pooled[m][rows] @ pooled[m].T) for m, w in weights.items()], axis=0)

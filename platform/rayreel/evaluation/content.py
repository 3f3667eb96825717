"""Content baselines and ablations: vectors of the videos' content without training, or from fewer modalities."""

from collections.abc import Collection, Mapping

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.preprocessing import normalize

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.scorers import Vectors
from rayreel.features.matrix import FeatureMatrix, Ragged, mean_pooled
from rayreel.tower.embed import embed
from rayreel.tower.embedder import Embedder
from rayreel.tower.tower import Standardise, VideoTower

POOLED_WEIGHTS = {Modality.VISUAL: 0.7, Modality.TEXT: 0.3}
ABLATIONS = {"visual": {Modality.VISUAL}, "visual+audio": {Modality.VISUAL, Modality.AUDIO}}


def titles(matrix: FeatureMatrix) -> Vectors:
    """Return TF-IDF vectors of the titles' words; all zero, so that all scores tie, if no title has a word."""
    words = matrix.column("title")
    if not any(any(letter.isalnum() for letter in title) for title in words):
        return np.zeros((len(matrix), 1), np.float32)
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32)  # noqa: S106 - a regex
    return sparse.csr_array(vectorizer.fit_transform(words))


def pooled(matrix: FeatureMatrix, weights: Mapping[Modality, float]) -> NDArray[np.float32]:
    """Return vectors [N, sum of D] whose inner products are the weighted sum of cosines of mean-pooled features.

    An absent modality contributes zero.
    """
    return weighted({m: normalize(mean_pooled(matrix.vectors[m])) for m in weights}, weights)


def fitted(ragged: Ragged, rows: NDArray[np.int64]) -> Standardise:
    """Return the tower's standardisation of a modality, fitted to the vectors of these videos."""
    standardise = Standardise(ragged.values.shape[1])
    standardise.fit(ragged.of(rows))
    return standardise


def standardised(ragged: Ragged, standardise: Standardise) -> NDArray[np.float32]:
    """Return the unit vectors [N, D] of standardised, mean-pooled features; zero if the modality is absent."""
    values = standardise(torch.from_numpy(ragged.values.astype(np.float32))).numpy()
    return normalize(mean_pooled(Ragged(values, ragged.offsets))).astype(np.float32)  # type: ignore[no-any-return]


def weighted(parts: Mapping[Modality, NDArray[np.float32]], weights: Mapping[Modality, float]) -> NDArray[np.float32]:
    """Return vectors [N, sum of D] whose inner products are the weighted sum of those of the parts."""
    return np.concatenate([np.sqrt(weight) * parts[m] for m, weight in weights.items()], axis=1).astype(np.float32)


def untrained(tower: VideoTower, seed: int = 0) -> VideoTower:
    """Return a tower of the same architecture and standardisation with initial weights."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        initial = VideoTower(tower.config, tower.dims)
    initial.copy_inputs(tower)
    return initial.to(tower.device)


def embed_modalities(tower: Embedder, matrix: FeatureMatrix, used: Collection[Modality]) -> NDArray[np.float32]:
    """Return unit embeddings [N, dim] from these modalities only; zero for videos that have none of them."""
    counts = {modality: matrix.vectors[modality].counts * (modality in used) for modality in Modality}
    rows = np.flatnonzero(sum(counts.values()))
    vectors = {modality: _subset(matrix.vectors[modality], rows, modality in used) for modality in Modality}
    embeddings_ND = np.zeros((len(matrix), tower.dim), np.float32)
    embeddings_ND[rows] = embed(tower, FeatureMatrix(vectors, matrix.rows.take(rows)))
    return embeddings_ND


def _subset(ragged: Ragged, rows: NDArray[np.int64], used: bool) -> Ragged:
    if not used:
        return Ragged(ragged.values[:0], np.zeros(len(rows) + 1, np.int64))
    return Ragged(ragged.of(rows), np.concatenate([[0], np.cumsum(ragged.counts[rows])]))

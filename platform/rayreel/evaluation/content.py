"""What any tower has to beat: vectors of the videos' content that need no training, or less of it."""

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
from rayreel.tower.tower import VideoTower

POOLED_WEIGHTS = {Modality.VISUAL: 0.7, Modality.TEXT: 0.3}
ABLATIONS = {"visual": {Modality.VISUAL}, "visual+audio": {Modality.VISUAL, Modality.AUDIO}}


def titles(matrix: FeatureMatrix) -> Vectors:
    """TF-IDF of the titles' words. A catalog whose titles hold no word gets zeros: nothing above anything."""
    words = matrix.column("title")
    if not any(any(letter.isalnum() for letter in title) for title in words):
        return np.zeros((len(matrix), 1), np.float32)
    vectorizer = TfidfVectorizer(token_pattern=r"(?u)\b\w+\b", sublinear_tf=True, dtype=np.float32)  # noqa: S106 - a regex
    return sparse.csr_array(vectorizer.fit_transform(words))


def pooled(matrix: FeatureMatrix, weights: Mapping[Modality, float]) -> NDArray[np.float32]:
    """[N, sum of D]: inner products are the weighted sum of the cosines of mean-pooled features.

    An absent modality adds nothing.
    """
    parts = [np.sqrt(weight) * normalize(mean_pooled(matrix.vectors[m])) for m, weight in weights.items()]
    return np.concatenate(parts, axis=1).astype(np.float32)


def untrained(tower: VideoTower, seed: int = 0) -> VideoTower:
    """A tower of the same shape and standardising with fresh weights: what is left of a tower without training."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        fresh = VideoTower(tower.config, tower.dims)
    fresh.take_inputs(tower)
    return fresh.to(next(tower.parameters()).device)


def embed_shown(tower: VideoTower, matrix: FeatureMatrix, shown: Collection[Modality]) -> NDArray[np.float32]:
    """Unit embeddings [N, dim] made from some modalities only; zero for videos that have none of them."""
    counts = {modality: matrix.vectors[modality].counts * (modality in shown) for modality in Modality}
    rows = np.flatnonzero(sum(counts.values()))
    vectors = {modality: _some(matrix.vectors[modality], rows, modality in shown) for modality in Modality}
    embeddings_ND = np.zeros((len(matrix), tower.config.dim), np.float32)
    embeddings_ND[rows] = embed(tower, FeatureMatrix(vectors, matrix.rows.take(rows)))
    return embeddings_ND


def _some(ragged: Ragged, rows: NDArray[np.int64], shown: bool) -> Ragged:
    if not shown:
        return Ragged(ragged.values[:0], np.zeros(len(rows) + 1, np.int64))
    return Ragged(ragged.of(rows), np.concatenate([[0], np.cumsum(ragged.counts[rows])]))

"""Counts of words as a text encoder without weights, for TF-IDF."""

from pathlib import Path

import numpy as np
from sklearn.feature_extraction.text import HashingVectorizer

from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors

DIM = 2048


class HashedWords:
    """Logarithmic counts of the words of a text in 2048 places: [N] strings -> [N, 2048].

    A word's place and sign are a hash of it, so there is no vocabulary to fit, and a catalog may grow. Two different
    words that share a place add noise of about 0.02 to a cosine (Weinberger et al. 2009, Feature Hashing). How rare a
    word is comes from the release: see `rayreel.tower.frozen.InverseFrequency`.
    """

    dim = DIM

    def __init__(self, identity: str) -> None:
        self.identity = identity
        self._counts = HashingVectorizer(
            n_features=DIM,
            token_pattern=r"[^\W_]+",  # noqa: S106 - a regex
            norm=None,
            strip_accents="unicode",
            dtype=np.float32,
        )

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """Map N strings to [N, 2048]; a text without words is zero."""
        del query
        if not texts:
            return np.empty((0, DIM), np.float32)
        counts_ND: Vectors = self._counts.transform(texts).toarray()
        return np.sign(counts_ND) * np.log1p(np.abs(counts_ND))

    def knows(self, word: str) -> bool:
        """Return False: there is no vocabulary."""
        del word
        return False


def load_hashed_words(folder: Path | None, identity: str, compute: Compute) -> HashedWords:
    """Load the counts of words. They have no files; the signature is that of every loader."""
    del folder, compute
    return HashedWords(identity)

"""Search by words in memory: which of N texts have which words."""

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Self

import numpy as np
from numpy.typing import NDArray

# BM25's usual constant: how soon repeating a word stops adding.
_K1 = 1.2
# A text with half of the words is an eighth of a match: chance hits must not count as much as meaning. With powers of 1
# and 2, queries of several words found fewer videos of their category among 400 real clips.
_POWER = 3


@dataclass(frozen=True, slots=True)
class Postings:
    """The words of N texts, by word. Arrays can be mapped from disk: a query reads only those of its own words.

    hashes_T: uint64, of the T words in ascending order. starts_T: int64 [T + 1]; those of word t are at
    starts_T[t] : starts_T[t + 1] of places_P (int32, the texts that have it) and counts_P (float32, how often; weighted
    by field). `size` is N.
    """

    size: int
    hashes_T: NDArray[np.uint64]
    starts_T: NDArray[np.int64]
    places_P: NDArray[np.int32]
    counts_P: NDArray[np.float32]

    @classmethod
    def of(cls, texts: Iterable[Mapping[str, float]]) -> Self:
        """Return the postings of texts, each given as the weighted count of each of its words."""
        hashes, places, counts, size = list[int](), list[int](), list[float](), 0
        for size, text in enumerate(texts, start=1):
            hashes += [word_hash(word) for word in text]
            places += [size - 1] * len(text)
            counts += text.values()
        hashes_T, word_P = np.unique(np.asarray(hashes, np.uint64), return_inverse=True)
        order_P = np.argsort(word_P, kind="stable")
        starts_T = np.concatenate([[0], np.cumsum(np.bincount(word_P, minlength=len(hashes_T)))]).astype(np.int64)
        return cls(
            size,
            hashes_T,
            starts_T,
            np.asarray(places, np.int32)[order_P],
            np.asarray(counts, np.float32)[order_P],
        )

    def __len__(self) -> int:
        return self.size

    def find_any(self, words: Iterable[str]) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the texts that have one of several words, and the highest of their weighted counts in each."""
        lists = [self.find(word) for word in words]
        if len(lists) == 1:
            return lists[0]
        counts_N = np.zeros(self.size, np.float32)
        for places_F, counts_F in lists:
            counts_N[places_F] = np.maximum(counts_N[places_F], counts_F)
        found = np.flatnonzero(counts_N).astype(np.int32)
        return found, counts_N[found]

    def find(self, word: str) -> tuple[NDArray[np.int32], NDArray[np.float32]]:
        """Return the texts that have a word, and its weighted count in each."""
        key = np.uint64(word_hash(word))
        at = int(np.searchsorted(self.hashes_T, key))
        known = at < len(self.hashes_T) and self.hashes_T[at] == key
        found = slice(self.starts_T[at], self.starts_T[at + 1]) if known else slice(0, 0)
        return self.places_P[found], self.counts_P[found]

    def have(self, word: str) -> NDArray[np.bool_]:
        """Return for each text whether it has a word."""
        have_N = np.zeros(self.size, bool)
        have_N[self.find(word)[0]] = True
        return have_N


def matches(parts: Sequence[Postings], query: Iterable[str | tuple[str, ...]]) -> list[NDArray[np.float32]]:
    """Return how well each text matches the query's words, in [0, 1]; one array for each of the parts.

    Several words in place of one stand for any of them. The parts together are the texts that are searched. A text gets
    BM25's score (Robertson and Zaragoza 2009; without its discount of long texts, so that a repeated or boosted word is
    as good as one in the title), as a share of the highest that the query can have, to the third power. So 1 means all
    words, also words that no text has, and a text with few of them, or only with frequent ones, gets little even if no
    other text has more. On scaling by theoretical bounds: Bruch et al. 2023, An Analysis of Fusion Functions for Hybrid
    Retrieval.
    """
    found = [np.zeros(len(part), np.float32) for part in parts]
    total, highest = sum(map(len, parts)), 0.0
    for word in dict.fromkeys(query):
        lists = [part.find_any((word,) if isinstance(word, str) else word) for part in parts]
        having = sum(len(places_F) for places_F, _ in lists)
        idf = float(np.log1p((total - having + 0.5) / (having + 0.5)))
        highest += idf
        for scores_N, (places_F, counts_F) in zip(found, lists, strict=True):
            scores_N[places_F] += idf * np.minimum(counts_F * (_K1 + 1) / (counts_F + _K1), 1)
    return [(scores_N / highest) ** _POWER if highest else scores_N for scores_N in found]


@lru_cache(1 << 16)
def word_hash(word: str) -> int:
    """Return a hash of a word that is the same in every process. Two words of a catalog practically never share it."""
    return int.from_bytes(hashlib.blake2b(word.encode(), digest_size=8).digest())

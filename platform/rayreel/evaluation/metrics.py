"""Ranking metrics, vectorised over queries."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Ranked:
    """What Q queries got: hits_QK says which of the K best candidates are relevant, relevant_Q how many there are."""

    hits_QK: NDArray[np.bool_]
    relevant_Q: NDArray[np.int64]


def rank(
    scores_QN: NDArray[np.float32], relevant_QN: NDArray[np.bool_], allowed_QN: NDArray[np.bool_], k: int
) -> Ranked:
    """Rank the allowed candidates of each query by falling score and keep the k best.

    Ties fall in a fixed random order: catalogs are often sorted by category, and in their order a method that scores
    everything alike would look as if it knew something.
    """
    shuffled = np.random.default_rng(0).permutation(scores_QN.shape[1])
    shown = np.where(allowed_QN, scores_QN, -np.inf)[:, shuffled]
    wanted = (relevant_QN & allowed_QN)[:, shuffled]
    k = min(k, shown.shape[1])
    best = np.argpartition(-shown, k - 1, axis=1)[:, :k]
    order = np.argsort(-np.take_along_axis(shown, best, axis=1), axis=1, kind="stable")
    best = np.take_along_axis(best, order, axis=1)
    return Ranked(np.take_along_axis(wanted, best, axis=1), wanted.sum(axis=1))


def recall(ranked: Ranked, k: int) -> NDArray[np.float64]:
    """Share of all relevant candidates that are among the first k, per query."""
    return _hits(ranked, k) / ranked.relevant_Q


def precision(ranked: Ranked, k: int) -> NDArray[np.float64]:
    """Share of the first k that is relevant, per query."""
    return _hits(ranked, k) / k


def ndcg(ranked: Ranked, k: int) -> NDArray[np.float64]:
    """Normalised discounted cumulative gain of the first k with binary relevance, per query (Järvelin 2002)."""
    discount = 1 / np.log2(np.arange(k) + 2)
    ideal = np.concatenate([[0.0], np.cumsum(discount)])[np.minimum(ranked.relevant_Q, k)]
    hits = ranked.hits_QK[:, :k]
    share: NDArray[np.float64] = (hits * discount[: hits.shape[1]]).sum(axis=1) / ideal
    return share


METRICS = {"recall": recall, "precision": precision, "ndcg": ndcg}


def _hits(ranked: Ranked, k: int) -> NDArray[np.float64]:
    hits: NDArray[np.float64] = ranked.hits_QK[:, :k].sum(axis=1).astype(np.float64)
    return hits

"""Ranking metrics, vectorised over queries. Relevance is binary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NO_ITEM = -1
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The top K candidates of Q queries.

    items_QK: row numbers of the videos, best first; NO_ITEM if a query has fewer than K candidates.
    hits_QK: which of them are relevant. relevant_Q: number of relevant candidates, at least one.
    """

    items_QK: NDArray[np.int64]
    hits_QK: NDArray[np.bool_]
    relevant_Q: NDArray[np.int64]

    def only(self, chosen_Q: NDArray[np.bool_]) -> "Ranked":
        """Return the rankings of the chosen queries."""
        return Ranked(self.items_QK[chosen_Q], self.hits_QK[chosen_Q], self.relevant_Q[chosen_Q])


def precision(ranked: Ranked, k: int) -> Values:
    """Share of the top k that is relevant, per query.

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> precision(ranked, 2).tolist()
    [0.5]
    """
    return _hits(ranked, k) / k


def recall(ranked: Ranked, k: int) -> Values:
    """Share of all relevant candidates that are in the top k, per query.

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> recall(ranked, 3).tolist()
    [0.5]
    """
    return _hits(ranked, k) / ranked.relevant_Q


def hit_rate(ranked: Ranked, k: int) -> Values:
    """1 if any of the top k is relevant, else 0, per query. For nearest neighbours this is called R@k.

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> hit_rate(ranked, 1).tolist()
    [1.0]
    """
    found: Values = np.any(ranked.hits_QK[:, :k], axis=1).astype(np.float64)
    return found


def ndcg(ranked: Ranked, k: int) -> Values:
    """Normalised discounted cumulative gain of the top k, per query (Järvelin 2002).

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> ndcg(ranked, 3).round(3).tolist()  # (1 + 1/log2(4)) / (1 + 1/log2(3) + 1/log2(4))
    [0.704]
    """
    discount: Values = 1 / np.log2(np.arange(k) + 2)
    best: Values = np.concatenate([[0.0], np.cumsum(discount)])
    hits = ranked.hits_QK[:, :k]
    gain_Q: Values = (hits * discount[: hits.shape[1]]).sum(axis=1)
    return gain_Q / np.take(best, np.minimum(ranked.relevant_Q, k))


def mrr(ranked: Ranked, k: int) -> Values:
    """Reciprocal rank of the first relevant item, 0 if none is in the top k, per query.

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> mrr(ranked, 3).tolist()
    [1.0]
    """
    hits = ranked.hits_QK[:, :k]
    first: Values = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return first


def average_precision(ranked: Ranked, k: int) -> Values:
    """Mean precision at the ranks of the relevant items in the top k; the mean over queries is MAP@k.

    Divided by min(k, number of relevant candidates), so that the best possible ranking scores 1.

    >>> ranked = Ranked(np.array([[4, 2, 7]]), np.array([[True, False, True]]), np.array([4]))  # 2 of 4 found
    >>> average_precision(ranked, 3).round(3).tolist()  # (1/1 + 2/3) / 3
    [0.556]
    """
    hits = ranked.hits_QK[:, :k]
    precisions = hits.cumsum(axis=1) / (np.arange(hits.shape[1]) + 1)
    found: Values = (precisions * hits).sum(axis=1) / np.minimum(ranked.relevant_Q, k)
    return found


METRICS: dict[str, Callable[[Ranked, int], Values]] = {
    "precision": precision,
    "recall": recall,
    "hit_rate": hit_rate,
    "ndcg": ndcg,
    "mrr": mrr,
    "map": average_precision,
}


def per_query(ranked: Ranked, ks: Sequence[int], names: Sequence[str] = tuple(METRICS)) -> dict[str, Values]:
    """Return every metric at every cutoff, such as {"recall@10": [Q]}."""
    return {f"{name}@{k}": METRICS[name](ranked, k) for name in names for k in ks}


def _hits(ranked: Ranked, k: int) -> Values:
    hits: Values = ranked.hits_QK[:, :k].sum(axis=1).astype(np.float64)
    return hits

"""Ranking metrics, vectorised over queries. Relevance is binary."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

NOBODY = -1
Values = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Ranked:
    """The K best candidates of Q queries.

    shown_QK: row numbers of the videos, best first, NOBODY where a query has fewer candidates than K.
    hits_QK: which of them are relevant. relevant_Q: how many candidates are, at least one.
    """

    shown_QK: NDArray[np.int64]
    hits_QK: NDArray[np.bool_]
    relevant_Q: NDArray[np.int64]

    def only(self, chosen_Q: NDArray[np.bool_]) -> "Ranked":
        """The same for some of the queries."""
        return Ranked(self.shown_QK[chosen_Q], self.hits_QK[chosen_Q], self.relevant_Q[chosen_Q])


def precision(ranked: Ranked, k: int) -> Values:
    """Share of the first k that is relevant, per query."""
    return _hits(ranked, k) / k


def recall(ranked: Ranked, k: int) -> Values:
    """Share of all relevant candidates that are among the first k, per query."""
    return _hits(ranked, k) / ranked.relevant_Q


def hit_rate(ranked: Ranked, k: int) -> Values:
    """1 where any of the first k is relevant, else 0. For nearest neighbours this is called R@k."""
    found: Values = np.any(ranked.hits_QK[:, :k], axis=1).astype(np.float64)
    return found


def ndcg(ranked: Ranked, k: int) -> Values:
    """Normalised discounted cumulative gain of the first k, per query (Järvelin 2002)."""
    discount: Values = 1 / np.log2(np.arange(k) + 2)
    best: Values = np.concatenate([[0.0], np.cumsum(discount)])
    hits = ranked.hits_QK[:, :k]
    gain_Q: Values = (hits * discount[: hits.shape[1]]).sum(axis=1)
    return gain_Q / np.take(best, np.minimum(ranked.relevant_Q, k))


def mrr(ranked: Ranked, k: int) -> Values:
    """1 / place of the first relevant one, 0 where none is among the first k."""
    hits = ranked.hits_QK[:, :k]
    first: Values = np.where(hits.any(axis=1), 1 / (hits.argmax(axis=1) + 1), 0.0)
    return first


def average_precision(ranked: Ranked, k: int) -> Values:
    """Mean over the relevant ones of the precision where each is found; its mean over queries is MAP@k.

    Divided by min(k, number of relevant candidates), so that the best possible ranking gets 1.
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
    """Every metric at every length, such as {"recall@10": [Q]}."""
    return {f"{name}@{k}": METRICS[name](ranked, k) for name in names for k in ks}


def _hits(ranked: Ranked, k: int) -> Values:
    hits: Values = ranked.hits_QK[:, :k].sum(axis=1).astype(np.float64)
    return hits

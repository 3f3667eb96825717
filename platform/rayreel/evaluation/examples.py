"""What the tower answers: its best and worst queries, and which categories it takes for which others."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.evaluation.metrics import NO_ITEM, Ranked, Values

EXAMPLES = 5
RESULTS = 8


@dataclass(frozen=True, slots=True)
class Example:
    """A query's video, its headline metric, the videos of its best results, and which of them are relevant."""

    query: str
    value: float
    results: list[str]
    hits: list[bool]


@dataclass(frozen=True, slots=True)
class Examples:
    """Best and worst queries, and the confusion of categories, {of the query: {of a result: share of results}}."""

    best: list[Example]
    worst: list[Example]
    confusion: dict[str, dict[str, float]]


def examples_of(
    queries_Q: NDArray[np.int64],
    ranked: Ranked,
    values_Q: Values,
    *,
    ids_N: NDArray[np.str_],
    categories_N: NDArray[np.str_],
    k: int,
) -> Examples:
    """Return examples of rankings whose queries are rows of N videos, each with a value; confusion is in the top k."""

    def example(place: int) -> Example:
        found = ranked.items_QK[place, :RESULTS]
        found = found[found != NO_ITEM]
        hits = ranked.hits_QK[place, : len(found)]
        return Example(str(ids_N[queries_Q[place]]), float(values_Q[place]), ids_N[found].tolist(), hits.tolist())

    order_Q, of_Q = np.argsort(values_Q, kind="stable"), categories_N[queries_Q]
    best, worst = ([example(place) for place in _mixed(order, of_Q)] for order in (order_Q[::-1], order_Q))
    return Examples(best, worst, _confusion(queries_Q, ranked.items_QK[:, :k], categories_N))


def _mixed(order_Q: NDArray[np.int64], categories_Q: NDArray[np.str_]) -> list[int]:
    """Return the first numbers of an order: one of each category, then further ones if there are too few."""
    _, firsts = np.unique(categories_Q[order_Q], return_index=True)
    chosen = np.concatenate([np.sort(firsts), np.setdiff1d(np.arange(len(order_Q)), firsts)])
    return [int(place) for place in order_Q[chosen[:EXAMPLES]]]


def _confusion(
    queries_Q: NDArray[np.int64], items_QK: NDArray[np.int64], categories_N: NDArray[np.str_]
) -> dict[str, dict[str, float]]:
    """Return the shares above zero, without queries and results that have no category."""
    names, codes_N = np.unique(categories_N, return_inverse=True)
    rows, columns = np.nonzero(items_QK != NO_ITEM)
    counts_CC = np.zeros((len(names), len(names)))
    np.add.at(counts_CC, (codes_N[queries_Q[rows]], codes_N[items_QK[rows, columns]]), 1)
    counts_CC[:, names == ""] = 0
    return {
        str(names[row]): {str(names[c]): float(counts_CC[row, c] / total) for c in np.flatnonzero(counts_CC[row])}
        for row, total in enumerate(counts_CC.sum(axis=1))
        if total and names[row]
    }

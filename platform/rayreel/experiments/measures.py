"""What an arm shows to people: how many different videos, how unusual, of which categories and creators."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from scipy.spatial.distance import jensenshannon
from scipy.special import gammaln


def different_among(counts: Iterable[int], drawn: int) -> float:
    """Return how many different videos to expect among `drawn` results, given how often each video was shown.

    So arms of unequal size can be compared. Source: Hurlbert 1971, The Nonconcept of Species Diversity (rarefaction).

    >>> different_among([1, 1, 1, 1], 2), round(different_among([3, 1], 2), 3)
    (2.0, 1.5)
    """
    counts_V = np.asarray(list(counts), np.float64)
    total = counts_V.sum()
    others_V = total - counts_V
    possible_V = others_V >= drawn
    absent_V = _ln_choose(others_V[possible_V], drawn) - _ln_choose(np.asarray(total), drawn)
    return round(float(len(counts_V) - np.exp(absent_V).sum()), 9)


def _ln_choose(of_V: "np.ndarray", drawn: int) -> "np.ndarray":
    ln_V: np.ndarray = gammaln(of_V + 1) - gammaln(drawn + 1) - gammaln(of_V - drawn + 1)
    return ln_V


def novelty(shown: Counter[str], watchers: Mapping[str, int], people: int) -> float:
    """Return how little known the shown videos are, in bits: the mean of -log2 of the share of people who watched them.

    Source: Vargas and Castells 2011, Rank and Relevance in Novelty and Diversity Metrics.
    """
    bits = sum(count * -np.log2((watchers.get(video, 0) + 1) / (people + 1)) for video, count in shown.items())
    return float(bits / shown.total())


def drift(shown: Counter[str], control: Counter[str]) -> float:
    """Return the Jensen-Shannon divergence of two counts of categories, in bits: 0 if equal, 1 if disjoint.

    >>> drift(Counter(a=2, b=2), Counter(a=1, b=1)), drift(Counter(a=2), Counter(b=1))
    (0.0, 1.0)
    """
    known = sorted({*shown, *control})
    distance = jensenshannon([shown[name] for name in known], [control[name] for name in known], base=2)
    return round(float(distance) ** 2, 9)


def repeated_creators(answers: Iterable[Sequence[str]]) -> float | None:
    """Return the share of results whose creator an earlier result of the same answer has; None without results.

    >>> repeated_creators([["ann", "bob", "ann"], ["cara"]])
    0.25
    """
    sizes = [(len(creators), len(set(creators))) for creators in answers]
    total = sum(size for size, _ in sizes)
    return (total - sum(different for _, different in sizes)) / total if total else None

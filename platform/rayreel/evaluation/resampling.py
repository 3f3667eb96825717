"""Confidence intervals of means over queries, and significance tests between methods.

Queries of one cluster (videos of one source) are not independent, so whole clusters are resampled.
"""

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.float64]

_CELLS = 2**22
_CONFIDENCE = 0.95


def intervals(values_QM: Values, clusters_Q: NDArray[np.int64], times: int, seed: int = 0) -> tuple[Values, Values]:
    """Return lower and upper bounds [M] of the 95 % percentile bootstrap interval of each column mean (Efron 1979).

    >>> scores_QM = np.array([[0.2], [0.4], [0.6], [0.8], [1.0], [0.0]])
    >>> low_M, high_M = intervals(scores_QM, np.arange(6), times=1000)  # every query is a cluster of its own
    >>> low_M.round(2).tolist(), high_M.round(2).tolist()
    ([0.23], [0.77])
    """
    sums_GM, sizes_G = _by_cluster(values_QM, clusters_Q)
    means_RM = np.concatenate([(c @ sums_GM) / (c @ sizes_G)[:, None] for c in _draws(len(sizes_G), times, seed)])
    tail = (1 - _CONFIDENCE) / 2
    low_M, high_M = np.quantile(means_RM, [tail, 1 - tail], axis=0)
    return low_M, high_M


def p_values(differences_QM: Values, clusters_Q: NDArray[np.int64], times: int, seed: int = 0) -> Values:
    """Return two-sided p [M] that paired differences have mean zero: Fisher's randomisation test with random signs.

    Under the null hypothesis the sign of each cluster's difference is random. Source: Smucker et al. 2007.

    >>> differences_QM = np.array([[0.1, 0.3]] * 10 + [[-0.1, 0.1]] * 10)
    >>> p_values(differences_QM, np.arange(20), times=1000).round(3).tolist()
    [1.0, 0.001]
    """
    sums_GM, _ = _by_cluster(differences_QM, clusters_Q)
    observed_M = np.abs(sums_GM.sum(axis=0))
    tolerance_M = 1e-9 * np.abs(sums_GM).sum(axis=0)  # equal sums differ by rounding
    reached_M = sum(
        ((np.abs(s @ sums_GM) >= observed_M - tolerance_M).sum(axis=0) for s in _signs(len(sums_GM), times, seed)),
        start=np.zeros(len(observed_M)),
    )
    p_M: Values = (1 + reached_M) / (1 + times)
    return p_M


def holm(p: Sequence[float]) -> list[float]:
    """Return p-values adjusted for multiple comparisons, with a family-wise error rate of at most alpha (Holm 1979).

    >>> holm([0.01, 0.04, 0.03])
    [0.03, 0.06, 0.06]
    """
    order = np.argsort(p)
    stepped = np.maximum.accumulate(np.array(p)[order] * np.arange(len(p), 0, -1))
    adjusted = np.empty(len(p))
    adjusted[order] = np.minimum(stepped, 1)
    return [float(value) for value in adjusted]


def _by_cluster(values_QM: Values, clusters_Q: NDArray[np.int64]) -> tuple[Values, Values]:
    _, cluster_Q, sizes_G = np.unique(clusters_Q, return_inverse=True, return_counts=True)
    order = np.argsort(cluster_Q, kind="stable")
    starts = np.concatenate([[0], np.cumsum(sizes_G)[:-1]])
    return np.add.reduceat(values_QM[order], starts, axis=0), sizes_G.astype(np.float64)


def _draws(clusters: int, times: int, seed: int) -> Iterator[Values]:
    """Yield how often each cluster is in each resample, [r, G] at a time."""
    rng = np.random.default_rng(seed)
    for some in _chunks(clusters, times):
        drawn = rng.integers(clusters, size=(some, clusters)) + clusters * np.arange(some)[:, None]
        yield np.bincount(drawn.ravel(), minlength=some * clusters).reshape(some, clusters).astype(np.float64)


def _signs(clusters: int, times: int, seed: int) -> Iterator[Values]:
    rng = np.random.default_rng(seed)
    return (rng.choice((-1.0, 1.0), size=(some, clusters)) for some in _chunks(clusters, times))


def _chunks(clusters: int, times: int) -> Iterator[int]:
    most = max(1, _CELLS // clusters)
    return (min(most, times - start) for start in range(0, times, most))

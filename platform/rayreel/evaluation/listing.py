"""Beyond-accuracy metrics of recommendation lists: catalog coverage, intra-list diversity, popularity."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from rayreel.evaluation.metrics import NO_ITEM, Ranked, Values

_CELLS = 2**24


def coverage(ranked: Ranked, k: int, candidates: int) -> float:
    """Return the share of all candidates that appear in at least one list of length k."""
    items = ranked.items_QK[:, :k]
    return len(np.unique(items[items != NO_ITEM])) / candidates


def diversity(ranked: Ranked, ks: Sequence[int], unit_ND: NDArray[np.float32]) -> dict[str, Values]:
    """Return 1 - mean cosine over the pairs of a list, per query and length (Ziegler 2005); k = 1 is skipped.

    unit_ND: one vector of unit length (or zero) per video, the same for all compared methods.
    """
    longer = [k for k in ks if k > 1]
    chunk = max(1, _CELLS // (ranked.items_QK.shape[1] * unit_ND.shape[1]))
    parts = [
        _diversity(ranked.items_QK[start : start + chunk], longer, unit_ND)
        for start in range(0, len(ranked.items_QK), chunk)
    ]
    return {f"diversity@{k}": np.concatenate([part[n] for part in parts]) for n, k in enumerate(longer)}


def popularity(ranked: Ranked, ks: Sequence[int], percentile_N: Values) -> dict[str, Values]:
    """Return the mean popularity percentile of a list, per query and length: 0.5 is unbiased, 1 only the top video."""
    valid_QK = ranked.items_QK != NO_ITEM
    percentile_QK = percentile_N[ranked.items_QK] * valid_QK
    return {f"popularity@{k}": percentile_QK[:, :k].sum(axis=1) / valid_QK[:, :k].sum(axis=1).clip(1) for k in ks}


def percentiles(views_N: NDArray[np.int64], candidates: NDArray[np.int64]) -> Values:
    """Return each video's popularity percentile among the candidates [N]: 0 to 1, mean 0.5; ties are averaged."""
    percentile_N = np.zeros(len(views_N))
    percentile_N[candidates] = (rankdata(views_N[candidates]) - 0.5) / len(candidates)
    return percentile_N


def _diversity(items_QK: NDArray[np.int64], ks: Sequence[int], unit_ND: NDArray[np.float32]) -> list[Values]:
    valid_QK = items_QK != NO_ITEM
    x_QKD = unit_ND[items_QK] * valid_QK[..., None]
    square_QK = np.einsum("qkd,qkd->qk", x_QKD, x_QKD)
    return [_pairs_apart(x_QKD[:, :k], square_QK[:, :k], valid_QK[:, :k].sum(axis=1)) for k in ks]


def _pairs_apart(x_QKD: NDArray[np.float32], square_QK: NDArray[np.float32], count_Q: NDArray[np.int64]) -> Values:
    """|sum of vectors|² contains every pair twice and every square once, so no pair is computed explicitly."""
    total_QD = x_QKD.sum(axis=1, dtype=np.float64)
    pairs_Q = (total_QD**2).sum(axis=1) - square_QK.sum(axis=1)
    return np.where(count_Q > 1, 1 - pairs_Q / (count_Q * (count_Q - 1)).clip(1), 0.0)

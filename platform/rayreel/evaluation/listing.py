"""What lists of recommendations are like besides right: how much of the catalog they show, how varied, how popular."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.stats import rankdata

from rayreel.evaluation.metrics import NOBODY, Ranked, Values

_CELLS = 2**24


def coverage(ranked: Ranked, k: int, candidates: int) -> float:
    """Share of all candidates that stand in at least one list of length k."""
    shown = ranked.shown_QK[:, :k]
    return len(np.unique(shown[shown != NOBODY])) / candidates


def diversity(ranked: Ranked, ks: Sequence[int], unit_ND: NDArray[np.float32]) -> dict[str, Values]:
    """1 - mean cosine of the pairs in a list, per query and length (Ziegler 2005). A list of one has no pairs.

    unit_ND: one vector of unit length (or zero) for each video, the same for all methods compared.
    """
    longer = [k for k in ks if k > 1]
    chunk = max(1, _CELLS // (ranked.shown_QK.shape[1] * unit_ND.shape[1]))
    parts = [
        _diversity(ranked.shown_QK[start : start + chunk], longer, unit_ND)
        for start in range(0, len(ranked.shown_QK), chunk)
    ]
    return {f"diversity@{k}": np.concatenate([part[n] for part in parts]) for n, k in enumerate(longer)}


def popularity(ranked: Ranked, ks: Sequence[int], percentile_N: Values) -> dict[str, Values]:
    """Mean popularity percentile of a list, per query and length: 0.5 is no bias, 1 only the most watched."""
    there_QK = ranked.shown_QK != NOBODY
    shown_QK = percentile_N[ranked.shown_QK] * there_QK
    return {f"popularity@{k}": shown_QK[:, :k].sum(axis=1) / there_QK[:, :k].sum(axis=1).clip(1) for k in ks}


def percentiles(views_N: NDArray[np.int64], candidates: NDArray[np.int64]) -> Values:
    """Popularity percentile of each video among the candidates [N], 0 to 1 with mean 0.5; equal counts share theirs."""
    percentile_N = np.zeros(len(views_N))
    percentile_N[candidates] = (rankdata(views_N[candidates]) - 0.5) / len(candidates)
    return percentile_N


def _diversity(shown_QK: NDArray[np.int64], ks: Sequence[int], unit_ND: NDArray[np.float32]) -> list[Values]:
    there_QK = shown_QK != NOBODY
    x_QKD = unit_ND[shown_QK] * there_QK[..., None]
    square_QK = np.einsum("qkd,qkd->qk", x_QKD, x_QKD)
    return [_pairs_apart(x_QKD[:, :k], square_QK[:, :k], there_QK[:, :k].sum(axis=1)) for k in ks]


def _pairs_apart(x_QKD: NDArray[np.float32], square_QK: NDArray[np.float32], count_Q: NDArray[np.int64]) -> Values:
    """|sum of vectors|² holds every pair twice and every square once: no pair has to be formed."""
    total_QD = x_QKD.sum(axis=1, dtype=np.float64)
    pairs_Q = (total_QD**2).sum(axis=1) - square_QK.sum(axis=1)
    return np.where(count_Q > 1, 1 - pairs_Q / (count_Q * (count_Q - 1)).clip(1), 0.0)

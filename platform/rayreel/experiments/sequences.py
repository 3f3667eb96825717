"""Confidence sequences: intervals that hold at every look, so that an experiment may be watched while it runs."""

import math
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

# The number of observations at which the interval is tightest.
TIGHTEST_AT = 2000


class Estimate(NamedTuple):
    """A value with its interval."""

    value: float
    low: float
    high: float


def difference_of_means(
    treated_N: NDArray[np.float64], control_M: NDArray[np.float64], alpha: float, tightest_at: int = TIGHTEST_AT
) -> Estimate | None:
    """Return the difference of two means, with an interval that has it at all times with a chance of 1 - alpha.

    The observations are independent: one of each person. None while one of the samples has no variance: nothing is
    known of the error then. The interval holds asymptotically, from a moderate number of observations on. Source:
    Waudby-Smith, Arbour, Sinha, Kennedy and Ramdas 2021, Time-uniform central limit theory and asymptotic confidence
    sequences; the variance per observation is that of the difference of means.
    """
    total = len(treated_N) + len(control_M)
    if min(len(treated_N), len(control_M)) < 2:
        return None
    variances = [float(np.var(sample, ddof=1)) / len(sample) for sample in (treated_N, control_M)]
    if min(variances) <= 0:
        return None
    margin = math.sqrt(sum(variances) * total) * half_width(total, alpha, tightest_at)
    value = float(np.mean(treated_N) - np.mean(control_M))
    return Estimate(value, value - margin, value + margin)


def half_width(count: int, alpha: float, tightest_at: int = TIGHTEST_AT) -> float:
    """Return half of the width of the sequence's interval after `count` observations of variance 1.

    >>> [round(half_width(count, 0.05), 3) for count in (100, 1000, 10_000)]  # at one look: 0.196, 0.062, 0.02
    [0.456, 0.097, 0.032]
    """
    odds = -2 * math.log(alpha)
    rho2 = (odds + math.log(odds) + 1) / tightest_at
    inside = count * rho2 + 1
    return math.sqrt(2 * inside / (count**2 * rho2) * math.log(math.sqrt(inside) / alpha))

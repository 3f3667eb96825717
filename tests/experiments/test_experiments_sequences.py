"""An experiment may be watched while it runs: false alarms stay rare, and real differences are found."""

from collections.abc import Callable

import numpy as np
import pytest
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.experiments.sequences import Estimate, difference_of_means

ALPHA, PEOPLE, LOOKS, RUNS, FEWEST = 0.05, 3000, 40, 150, 200
Samples = NDArray[np.float64]
Interval = Callable[[Samples, Samples], Estimate | None]


def ctr(rng: Generator, mean: float) -> Samples:
    """CTRs of people with ten results each, whose own chances differ."""
    return rng.binomial(10, rng.beta(mean * 5, (1 - mean) * 5, PEOPLE)) / 10


def log_seconds(rng: Generator, scale: float) -> Samples:
    """log(1 + seconds) of people, most of whom watch nothing."""
    return np.log1p(60 * scale * rng.lognormal(0, 1, PEOPLE) * (rng.random(PEOPLE) < 0.2))


def sequential(treated_N: Samples, control_M: Samples) -> Estimate | None:
    return difference_of_means(treated_N, control_M, ALPHA)


def at_one_look(treated_N: Samples, control_M: Samples) -> Estimate:
    value = float(treated_N.mean() - control_M.mean())
    margin = 1.96 * np.sqrt(sum(sample.var() / len(sample) for sample in (treated_N, control_M)))
    return Estimate(value, value - margin, value + margin)


def alarms(
    interval: Interval, draw: Callable[[Generator, float], Samples], means: tuple[float, float], share: float
) -> float:
    """The share of experiments in which the interval excludes 0 at any look."""
    rng, found = np.random.default_rng(0), 0
    for _ in range(RUNS):
        treated_N = rng.random(PEOPLE) < share
        values_N = np.where(treated_N, draw(rng, means[1]), draw(rng, means[0]))
        for count in np.linspace(0, PEOPLE, LOOKS + 1, dtype=int)[1:]:
            first_N, at = values_N[:count], treated_N[:count]
            if min(at.sum(), count - at.sum()) < FEWEST:
                continue
            estimate = interval(first_N[at], first_N[~at])
            if estimate is not None and not estimate.low <= 0 <= estimate.high:
                found += 1
                break
    return found / RUNS


@pytest.mark.parametrize(
    ("draw", "mean", "share"), [(ctr, 0.2, 0.5), (ctr, 0.03, 0.15), (log_seconds, 1.0, 0.5), (log_seconds, 1.0, 0.15)]
)
def test_looking_all_the_time_gives_no_more_false_alarms_than_promised(
    draw: Callable[[Generator, float], Samples], mean: float, share: float
) -> None:
    assert alarms(sequential, draw, (mean, mean), share) <= ALPHA


def test_an_interval_for_one_look_would_give_many() -> None:
    assert alarms(at_one_look, ctr, (0.2, 0.2), 0.5) > 3 * ALPHA


def test_a_real_difference_is_found() -> None:
    assert alarms(sequential, ctr, (0.2, 0.24), 0.5) > 0.9


def test_nothing_is_said_without_variance_or_people() -> None:
    assert difference_of_means(np.zeros(500), ctr(np.random.default_rng(0), 0.2), ALPHA) is None
    assert difference_of_means(np.ones(1), np.ones(500), ALPHA) is None

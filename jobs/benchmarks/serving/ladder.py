"""The highest rate that a server holds."""

import math
from collections.abc import Callable
from dataclasses import dataclass

from benchmarks.serving.arrivals import Outcome

Drive = Callable[[float], Outcome]


@dataclass(frozen=True, slots=True)
class Target:
    """A rate is held when nothing fails and so large a share of the answers comes within so many milliseconds."""

    share: float = 0.99
    within_ms: float = 100.0

    def met(self, outcome: Outcome) -> bool:
        """Whether the outcome holds its rate."""
        return outcome.failed == 0 and outcome.quantile_ms(self.share) <= self.within_ms


@dataclass(frozen=True, slots=True)
class Rung:
    """One rate and what became of it."""

    rate: float
    held: bool
    outcome: Outcome


def climb(drive: Drive, start: float, target: Target, *, factor: float = 1.5, precision: float = 0.05) -> list[Rung]:
    """Find the highest rate held: up by `factor` until one is not, then halve what is between, to `precision`.

    Every rung that was tried, by rate. A rate that fails is tried once more, as a machine of few cores has other things
    to do now and then. No rung holds where even `start` is too much for the server, tried down to a tenth of it.
    """
    rungs: list[Rung] = []

    def held(rate: float) -> bool:
        for _ in range(2):
            outcome = drive(rate)
            rungs.append(Rung(rate, target.met(outcome), outcome))
            if rungs[-1].held:
                return True
        return False

    low, high = _bracket(held, start, factor)
    while low and high / low > 1 + precision:
        middle = math.sqrt(low * high)
        low, high = (middle, high) if held(middle) else (low, middle)
    return sorted(rungs, key=lambda rung: rung.rate)


def best(rungs: list[Rung]) -> Rung | None:
    """The highest rung that held."""
    return max((rung for rung in rungs if rung.held), key=lambda rung: rung.rate, default=None)


def _bracket(held: Callable[[float], bool], start: float, factor: float) -> tuple[float, float]:
    """A rate that is held, 0 where none is, and a higher one that is not."""
    rate = start
    while not held(rate):
        rate /= factor
        if rate < start / 10:
            return 0.0, rate
    if rate < start:
        return rate, rate * factor
    while held(rate * factor):
        rate *= factor
    return rate, rate * factor

"""The steps of a scenario, each of which takes candidates, best first, and returns fewer or reordered ones."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.random import Generator

from rayreel.index.filters import matches
from rayreel.recommendation.candidates import Constraints, RankedCandidates
from rayreel.recommendation.live import Live
from rayreel.recommendation.scenarios import Scenario
from rayreel.release.rows import VideoRow

EXPLORED, PINNED = "explore", "pin"


def through_steps(live: Live, pool: RankedCandidates, scenario: Scenario, now: float) -> RankedCandidates:
    """Return what a scenario leaves of a pool, best first: rules and freshness, near-duplicates, caps."""
    pool = rescored(live, pool, scenario, now)
    if scenario.near_duplicates is not None:
        pool = without_near_duplicates(live, pool, scenario.near_duplicates)
    return capped(live, pool, scenario.caps) if scenario.caps else pool


def rescored(live: Live, pool: RankedCandidates, scenario: Scenario, now: float) -> RankedCandidates:
    """Add the scores of rules and freshness and sort again. The stage of a video that a rule moves is rule."""
    moment = datetime.fromtimestamp(now, UTC)
    rules = [(rule.condition, rule.score) for rule in scenario.rules if rule.applies(moment)]
    if not rules and not scenario.freshness:
        return pool
    scores, stages = [], []
    for place, score, stage in zip(pool.places, pool.scores, pool.stages, strict=True):
        row = live.row(place)
        fields = row.fields()
        by_rules = sum(added for condition, added in rules if matches(condition, fields))
        scores.append(score + by_rules + _freshness(row, scenario, now))
        stages.append("rule" if by_rules else stage)
    order = sorted(range(len(scores)), key=lambda rank: -scores[rank])
    return RankedCandidates(pool.places, scores, stages).take(order)


def without_near_duplicates(live: Live, pool: RankedCandidates, cosine: float) -> RankedCandidates:
    """Drop each video whose cosine with a kept one before it is at least `cosine`."""
    vectors_PD = live.vectors(pool.places)
    kept: list[int] = []
    for rank, vector_D in enumerate(vectors_PD):
        if not kept or float((vectors_PD[kept] @ vector_D).max()) < cosine:
            kept.append(rank)
    return pool.take(kept)


def capped(live: Live, pool: RankedCandidates, caps: Mapping[str, int]) -> RankedCandidates:
    """Keep at most as many videos with the same value of a field as its cap. Videos without a value are not capped."""
    counts: Counter[tuple[str, Any]] = Counter()
    kept = []
    for rank, place in enumerate(pool.places):
        values = _values(live.row(place), caps)
        if all(counts[value] < caps[value[0]] for value in values):
            counts.update(values)
            kept.append(rank)
    return pool.take(kept)


def explored(
    chosen: RankedCandidates,
    pool: RankedCandidates,
    share: float,
    rng: Generator,
    fixed: frozenset[int] = frozenset(),
) -> tuple[RankedCandidates, dict[int, float]]:
    """Replace each result with a chance of `share` by a candidate that was not chosen; return the propensities too.

    A propensity is the chance that the video is among the results at all: nearly 1 - share for a chosen one, and
    share x results / candidates for one that was drawn from those that were left. Places in `fixed` are not replaced.
    The stage of those that were drawn is explore.
    """
    rest = [rank for rank, place in enumerate(pool.places) if place not in set(chosen.places)]
    slots = [rank for rank, place in enumerate(chosen.places) if place not in fixed]
    # The chance that candidates are left at each of them, which is 1 unless there are fewer than results.
    left_S = [_at_most(len(rest) - 1, number, share) for number in range(len(slots))]
    of_drawn = share * sum(left_S) / max(len(rest), 1)
    places, scores, stages = list(chosen.places), list(chosen.scores), list(chosen.stages)
    propensities = dict.fromkeys(places, 1.0)
    for rank, left in zip(slots, left_S, strict=True):
        propensities[places[rank]] = 1 - share * left
        if rest and rng.random() < share:
            drawn = rest.pop(int(rng.integers(len(rest))))
            places[rank], scores[rank], stages[rank] = pool.places[drawn], pool.scores[drawn], EXPLORED
            propensities[places[rank]] = of_drawn
    return RankedCandidates(places, scores, stages), propensities


def _at_most(most: int, tries: int, chance: float) -> float:
    """Return the chance that at most this many of independent tries succeed."""
    if most >= tries:
        return 1.0
    return sum(math.comb(tries, n) * chance**n * (1 - chance) ** (tries - n) for n in range(most + 1))


def with_pins(
    live: Live, chosen: RankedCandidates, pins: Sequence[str], constraints: Constraints, top_k: int
) -> RankedCandidates:
    """Put pinned videos that the constraints allow first, with the score of the best result and the stage pin."""
    found = (live.find(video_id) for video_id in pins)
    places = [place for place in found if place is not None and constraints.allows(live, place)][:top_k]
    others = chosen.take([rank for rank, place in enumerate(chosen.places) if place not in places])
    best = max(chosen.scores, default=0.0)
    return RankedCandidates(
        [*places, *others.places][:top_k],
        [*([best] * len(places)), *others.scores][:top_k],
        [*([PINNED] * len(places)), *others.stages][:top_k],
    )


def _freshness(row: VideoRow, scenario: Scenario, now: float) -> float:
    if not scenario.freshness or row.created_at is None:
        return 0.0
    return float(scenario.freshness * np.exp2(-max(now - row.created_at, 0.0) / scenario.fresh_half_life_s))


def _values(row: VideoRow, names: Mapping[str, int]) -> list[tuple[str, Any]]:
    values = ((name, row.extra.get(name[6:]) if name.startswith("extra.") else getattr(row, name)) for name in names)
    return [(name, value) for name, value in values if value not in (None, "") and not isinstance(value, list | dict)]

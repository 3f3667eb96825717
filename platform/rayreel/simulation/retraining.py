"""Rounds with retraining: a loop that learns from what it has shown itself, beside policies that do not."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from rayreel.recommendation.config import RecommendConfig
from rayreel.release.snapshot import Snapshot
from rayreel.simulation.here import AtRandomFirst, ServedHere
from rayreel.simulation.people import World
from rayreel.simulation.policies import MostWatched, Policy, RandomChoice
from rayreel.simulation.rounds import SHORTEST_S, NothingToSimulate, RoundResult, one_round
from rayreel.tower.config import UserTowerConfig

LOOP = "closed loop"
NORMAL_95 = 1.96


@dataclass(frozen=True, slots=True)
class Retraining:
    """How many people visit how often, and how the tower is trained. `explore`: of the loop; see scenarios.

    `gate`: whether a tower serves only if it is significantly better on the views of its own validation period.
    """

    people: int
    rounds: int
    visits: int
    top_k: int
    drift: float
    explore: float
    seed: int
    gate: bool = True


class Lead(NamedTuple):
    """How much higher the loop's CTR is in a round, of the same people, with the 95 % interval over them."""

    over: str
    number: int
    value: float
    low: float
    high: float


def simulate_retraining(
    snapshot: Snapshot, recommend: RecommendConfig, tower: UserTowerConfig, plan: Retraining
) -> Iterator[RoundResult]:
    """Let the same people visit each policy, and yield the results of every round, from 0.

    In round 0 everyone sees any videos. Then `user tower` has a tower that was trained on that round, and keeps it;
    the loop trains one after every round, on what its own people did until then. `content` has none.

    Raises:
        NothingToSimulate: the release has fewer than two categories.
    """
    world, videos = world_in(snapshot, plan.seed), snapshot.ids
    once, loop = (ServedHere(snapshot, recommend, explore) for explore in (0.0, plan.explore))
    content = ServedHere(snapshot, recommend)
    most_watched = MostWatched(videos, plan.seed)
    policies: Mapping[str, Policy] = {
        "random": RandomChoice(videos, plan.seed),
        "popularity": most_watched,
        "content": content,
        "user tower": once,
        LOOP: loop,
    }
    first: dict[str, Policy] = {"popularity": most_watched, "content": content, "user tower": once, LOOP: loop}
    arms = {arm: world.people(plan.people, arm, plan.seed) for arm in policies}
    for number in range(plan.rounds + 1):
        for arm, policy in policies.items():
            now = AtRandomFirst(videos, plan.seed, first[arm]) if not number and arm in first else policy
            yield one_round(now, arms[arm], world, name=arm, number=number, visits=plan.visits, top_k=plan.top_k)
            for person in arms[arm]:
                person.drift(plan.drift, world)
        if not number:
            once.retrain(tower, plan.seed, gate=plan.gate)
        if number < plan.rounds:
            loop.retrain(tower, plan.seed + number, gate=plan.gate)


def leads(results: Sequence[RoundResult]) -> list[Lead]:
    """Return the lead of the loop over every other policy in each round."""
    loops = {result.number: np.asarray(result.shares) for result in results if result.policy == LOOP}
    return [_lead(result, loops[result.number]) for result in results if result.policy != LOOP]


def _lead(other: RoundResult, loop_P: NDArray[np.float64]) -> Lead:
    ahead_P = loop_P - np.asarray(other.shares)
    margin = NORMAL_95 * float(ahead_P.std(ddof=1)) / len(ahead_P) ** 0.5
    value = float(ahead_P.mean())
    return Lead(other.policy, other.number, value, value - margin, value + margin)


def world_in(snapshot: Snapshot, seed: int) -> World:
    """Return the world of a release's videos. Raises NothingToSimulate."""
    categories = {row.video_id: row.category or "" for row in snapshot.rows}
    if len(set(categories.values()) - {""}) < 2:
        raise NothingToSimulate("People have favourite categories, and the videos have fewer than two. Add categories.")
    return World.of(categories, {row.video_id: row.duration_s or SHORTEST_S for row in snapshot.rows}, seed)

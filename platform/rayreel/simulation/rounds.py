"""Rounds of a simulation: what each policy reaches with the same people."""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

import numpy as np

from rayreel.client.client import Client
from rayreel.errors import RayreelError
from rayreel.simulation.people import SimulatedPerson, World
from rayreel.simulation.policies import KnownUser, LikeTheLast, MostWatched, Policy, RandomChoice

SHORTEST_S = 1.0


class NothingToSimulate(RayreelError):
    """The service's videos have too few categories for people with tastes."""


class RoundResult(NamedTuple):
    """What a policy reached in a round.

    `ctr`: views per result shown, mean of people, with half of its 95 % interval; `coverage`: share of all videos
    shown; `gini`: of the views per video, 1 if all are of one video; `ndcg`: of the results by the people's true
    interest, 1 if nothing unseen interests them more. `shares`: the CTR of each person.
    """

    policy: str
    number: int
    ctr: float
    margin: float
    coverage: float
    gini: float
    ndcg: float
    shares: tuple[float, ...]


def simulate(
    client: Client, name: str, *, people: int, rounds: int, visits: int, top_k: int, drift: float, seed: int
) -> Iterator[RoundResult]:
    """Let the same people visit each policy, and yield the results of every round. `name` begins the users' ids.

    Raises:
        NothingToSimulate: there are fewer than two categories.
        ApiError: the service does not answer.
    """
    world = world_of(client, seed)
    videos = sorted(world.categories)
    policies: Mapping[str, Policy] = {
        "random": RandomChoice(videos, seed),
        "popularity": MostWatched(videos, seed),
        "content": LikeTheLast(videos, seed, client),
        "user": KnownUser(client),
    }
    arms = {arm: world.people(people, f"{name}-{arm}", seed) for arm in policies}
    for number in range(1, rounds + 1):
        for arm, policy in policies.items():
            yield one_round(policy, arms[arm], world, name=arm, number=number, visits=visits, top_k=top_k)
            for person in arms[arm]:
                person.drift(drift, world)


def world_of(client: Client, seed: int) -> World:
    """Return the world of a service's videos. Raises NothingToSimulate."""
    videos = list(client.videos(page=1000))
    categories = {video.video_id: video.category for video in videos}
    if len(set(categories.values()) - {""}) < 2:
        raise NothingToSimulate("People have favourite categories, and the videos have fewer than two. Add categories.")
    return World.of(categories, {video.video_id: video.duration_s or SHORTEST_S for video in videos}, seed)


def one_round(
    policy: Policy, people: Sequence[SimulatedPerson], world: World, *, name: str, number: int, visits: int, top_k: int
) -> RoundResult:
    """Let everyone visit a policy; return what it reached."""
    shown_to, views, shares, gains = set[str](), Counter[str](), list[float](), list[float]()
    for person in people:
        shown_count = watched = 0
        for _ in range(visits):
            shown = policy.show(person, top_k)
            gains.append(ndcg_of(shown, person, world))
            reactions = person.react(shown, world)
            policy.learn(person, shown, reactions)
            shown_to.update(shown)
            views.update(reaction.video_id for reaction in reactions)
            shown_count, watched = shown_count + len(shown), watched + len(reactions)
        shares.append(watched / max(shown_count, 1))
    margin = 1.96 * float(np.std(shares)) / len(shares) ** 0.5
    counts = [views[video] for video in world.categories]
    coverage = len(shown_to) / len(world.categories)
    figures = float(np.mean(shares)), margin, coverage, gini(counts), float(np.mean(gains))
    return RoundResult(name, number, *figures, tuple(shares))


def ndcg_of(shown: Sequence[str], person: SimulatedPerson, world: World) -> float:
    """Return the nDCG of results by a person's interest in them, among all videos that they have not seen."""
    interest = sorted(person.interest(video, world) for video in world.categories if video not in person.seen)
    best_K = np.asarray(interest[::-1][: len(shown)])
    found_K = np.asarray([0.0 if video in person.seen else person.interest(video, world) for video in shown])
    discount_K = 1 / np.log2(np.arange(len(shown)) + 2)
    ideal = float(best_K @ discount_K[: len(best_K)])
    return float(found_K @ discount_K) / ideal if ideal else 0.0


def gini(counts: Sequence[int]) -> float:
    """Return the Gini coefficient of counts: 0 if all are equal, towards 1 if one has all.

    >>> gini([1, 1, 1, 1]), gini([0, 0, 0, 4])
    (0.0, 0.75)
    """
    sorted_N = np.sort(np.asarray(counts, np.float64))
    if not sorted_N.sum():
        return 0.0
    ranks_N = np.arange(1, len(sorted_N) + 1)
    return float((2 * ranks_N - len(sorted_N) - 1) @ sorted_N / (len(sorted_N) * sorted_N.sum()))

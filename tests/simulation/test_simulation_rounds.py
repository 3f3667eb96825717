"""Simulated people: policies that know their tastes reach more views, and ones that do not, fewer."""

from collections.abc import Sequence

import pytest

from rayreel.simulation.people import Reaction, SimulatedPerson, World
from rayreel.simulation.policies import MostWatched, RandomChoice
from rayreel.simulation.replay import summed
from rayreel.simulation.rounds import gini, ndcg_of, one_round

CATEGORIES = {f"{category}{n}": category for category in ("sea", "sky", "city", "farm") for n in range(30)}


class Knows(RandomChoice):
    """Shows favourites only."""

    def show(self, person: SimulatedPerson, count: int) -> list[str]:
        every = super().show(person, len(CATEGORIES))
        return [video for video in every if CATEGORIES[video] in person.favourites][:count]


@pytest.fixture(scope="module")
def world() -> World:
    return World.of(CATEGORIES, dict.fromkeys(CATEGORIES, 10.0), seed=1)


def test_people_watch_more_of_what_they_like(world: World) -> None:
    videos = sorted(CATEGORIES)
    reached = {
        type(policy).__name__: one_round(
            policy, world.people(40, "p", seed=1), world, name="x", number=1, visits=2, top_k=10
        )
        for policy in (RandomChoice(videos, 1), MostWatched(videos, 1), Knows(videos, 1))
    }
    assert reached["Knows"].ctr - reached["Knows"].margin > reached["RandomChoice"].ctr + reached["RandomChoice"].margin
    assert reached["MostWatched"].gini > reached["RandomChoice"].gini
    assert reached["Knows"].ndcg > reached["RandomChoice"].ndcg + 0.2
    assert reached["RandomChoice"].coverage > reached["MostWatched"].coverage


def test_the_same_seed_gives_the_same_people_with_other_names(world: World) -> None:
    one, other = world.people(5, "a", seed=3), world.people(5, "b", seed=3)
    assert [person.favourites for person in one] == [person.favourites for person in other]
    shown = sorted(CATEGORIES)[:20]
    assert [person.react(shown, world) for person in one] == [person.react(shown, world) for person in other]
    assert one[0].name == "a-0000"


def test_nothing_is_watched_twice_and_opinions_follow_tastes(world: World) -> None:
    person = world.people(1, "a", seed=0)[0]
    reactions: list[Reaction] = []
    for _ in range(200):
        reactions += person.react(sorted(CATEGORIES)[:100:7], world)
    ids = [reaction.video_id for reaction in reactions]
    assert len(ids) == len(set(ids)) and set(ids) == person.seen
    for reaction in reactions:
        liked = CATEGORIES[reaction.video_id] in person.favourites
        assert reaction.opinion in ({"like", None} if liked else {"dislike", None})
        assert 0 <= reaction.seconds <= 10


def test_ndcg_is_1_for_the_best_unseen_videos_and_less_in_another_order(world: World) -> None:
    person = world.people(1, "a", seed=0)[0]
    best = sorted(CATEGORIES, key=lambda video: -person.interest(video, world))
    assert ndcg_of(best[:10], person, world) == pytest.approx(1)
    assert ndcg_of(best[9::-1], person, world) < 0.999
    person.seen.add(best[0])
    assert ndcg_of(best[1:11], person, world) == pytest.approx(1) and ndcg_of(best[:10], person, world) < 0.8


def test_favourites_drift_but_keep_their_number(world: World) -> None:
    person = world.people(1, "a", seed=2)[0]
    before = set(person.favourites)
    person.drift(1.0, world)
    assert person.favourites != before and len(person.favourites) == len(before)


@pytest.mark.parametrize(("counts", "expected"), [([0, 0], 0.0), ([5, 5], 0.0), ([0, 0, 0, 8], 0.75)])
def test_gini(counts: Sequence[int], expected: float) -> None:
    assert gini(counts) == pytest.approx(expected)


def test_hit_rates_are_over_requests_and_their_errors_over_users() -> None:
    found = summed({"a": [(True, False, False)] * 8, "b": [(False, False, True)] * 2}, top_k=10)
    assert (found.asked, found.users) == (10, 2)
    assert (found.service, found.popularity, found.random) == (0.8, 0.0, 0.2)
    assert found.errors == pytest.approx((1.96 * (2 * 1.6**2) ** 0.5 / 10, 0, 1.96 * (2 * 1.6**2) ** 0.5 / 10))

"""Estimates from logged answers, in a world whose answer is known: they have it, and the logged CTR does not."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from event_rows import NOW, event_row
from live_case import Release, at, pinned
from rayreel.client.messages import RecommendRequest, User
from rayreel.events.config import EventsConfig
from rayreel.events.database import Database
from rayreel.events.write import AnswerRow, add_answers, add_events
from rayreel.experiments.offline import LoggedAnswer, NoOverlap, NoPropensities, OfflineEstimates, estimates
from rayreel.experiments.replayed import Replay
from rayreel.experiments.sequences import Estimate
from rayreel.recommendation.candidates import RankedCandidates
from rayreel.recommendation.scenarios import Scenario
from rayreel.recommendation.steps import explored
from rayreel.storage import Storage
from release_rows import release_row

VIDEOS, POOL, SHOWN, EXPLORE = 30, 12, 4, 0.4
# Two kinds of people, who like other videos. The logging scenario shows both what the first kind likes.
LIKED_KV = np.stack([np.linspace(0.4, 0.02, VIDEOS), np.linspace(0.05, 0.5, VIDEOS)])
LOGGED = list(range(POOL))


def candidates(*places: int) -> RankedCandidates:
    return RankedCandidates(list(places), [1.0] * len(places), [""] * len(places))


def world(seed: int, people: int, target: tuple[list[int], list[int]]) -> list[LoggedAnswer]:
    """Answers of a scenario that explores; `target` is what would be shown to each kind of people."""
    rng, found = np.random.default_rng(seed), []
    for person in range(people):
        kind = person % 2
        for _ in range(int(rng.integers(1, 5))):
            shown, chances = explored(candidates(*LOGGED[:SHOWN]), candidates(*LOGGED), EXPLORE, rng)
            watched = rng.random(SHOWN) < LIKED_KV[kind, shown.places]
            found.append(
                LoggedAnswer(
                    f"u{person}",
                    [f"v{place}" for place in shown.places],
                    [chances[place] for place in shown.places],
                    watched.tolist(),
                    [f"v{place}" for place in target[kind]],
                )
            )
    return found


def truth(target: tuple[list[int], list[int]]) -> float:
    return float(np.mean([LIKED_KV[kind, target[kind]].mean() for kind in (0, 1)]))


# What each kind likes most of what the logging scenario can show.
BETTER = ([0, 1, 2, 3], [8, 9, 10, 11])


def test_estimates_have_the_truth_and_the_logged_ctr_does_not() -> None:
    held: NDArray[np.int_] = np.zeros(4, int)
    for seed in range(40):
        found = estimates(world(seed, 300, BETTER))
        every = found.ips, found.snips, found.dr, found.logged
        held += [estimate.low <= truth(BETTER) <= estimate.high for estimate in every]
    assert min(held[:3]) >= 35 and held[3] <= 2  # of 40; an interval of 95 % misses more than 5 with a chance of .01


def test_estimates_of_what_was_logged_itself_are_near_what_was_logged_there() -> None:
    same = (LOGGED[:SHOWN], LOGGED[:SHOWN])
    found = estimates(world(0, 600, same))
    assert found.overlap == pytest.approx(1, abs=0.05) and found.effective > 1000
    assert found.dr.low <= truth(same) <= found.dr.high and width(found.dr) < 0.05


def width(found: Estimate) -> float:
    return found.high - found.low


def test_the_model_of_views_narrows_the_interval() -> None:
    found = estimates(world(1, 600, BETTER))
    assert width(found.snips) < width(found.ips) and width(found.dr) < width(found.ips)
    assert found.people == 600


def test_nothing_is_estimated_without_propensities_overlap_or_enough_answers() -> None:
    with pytest.raises(NoPropensities):
        estimates([])
    with pytest.raises(NoOverlap, match=r"(4|5)\d% of the scenario's results"):
        estimates(world(0, 600, ([0, 1, 20, 21], [10, 11, 28, 29])))
    with pytest.raises(NoOverlap, match="could have shown 0%"):
        estimates(world(0, 100, ([20, 21, 22, 23], [26, 27, 28, 29])))
    with pytest.raises(NoOverlap, match="Log more answers"):
        estimates(world(0, 20, BETTER))


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Twelve videos at 0 to 110 degrees of a plane."""
    rows = (release_row(f"d{n}", embedding=at(10.0 * n), created_at=NOW) for n in range(12))
    return Release(tmp_path_factory.mktemp("offline"), rows, neighbours=4)


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(EventsConfig(), Storage(tmp_path))
    yield opened
    opened.close()


def logged(
    database: Database, answer_id: str, shown: str, propensities: str | None, when: float, **row: object
) -> None:
    query = RecommendRequest(user=User(user_id="ann"), top_k=2, scenario="home").model_dump_json(exclude_defaults=True)
    kept = AnswerRow(answer_id, "ann", None, when, 1, query, shown, 0, propensities)._replace(**row)  # type: ignore[arg-type]
    with database.writing() as connection:
        add_answers(connection, [kept])


def replayed(database: Database, release: Release, **target: object) -> list[LoggedAnswer]:
    with database.reading() as connection:
        return list(Replay(connection, pinned(release.live), Scenario.model_validate(target)).answers())


def test_the_target_is_asked_for_people_as_they_were_then(database: Database, release: Release) -> None:
    with database.writing() as connection:
        add_events(connection, [event_row("e1", "ann", "d0", at=NOW), event_row("e2", "ann", "d11", at=NOW + 50)])
        later = event_row("e3", "ann", "d2", at=NOW + 20)._replace(recommendation_id="r1")
        add_events(connection, [later, event_row("e4", "ann", "d1", "dislike", at=NOW + 30)])
    logged(database, "r1", '["d1", "d2"]', "[0.6, 0.1]", NOW + 10)
    logged(database, "r2", '["d9", "d3", "d4"]', "[0.6, 0.6]", NOW + 40, earlier=1)
    logged(database, "r3", '["d1", "d2"]', None, NOW + 10)  # nothing explored
    logged(database, "r4", '["d1", "d2"]', "[0.6, 0.6]", NOW + 10, release=2)
    found = replayed(database, release, explore=0.9)
    assert [answer.shown for answer in found] == [["d1", "d2"], ["d3", "d4"]]
    assert found[0] == LoggedAnswer("ann", ["d1", "d2"], [0.6, 0.1], [False, True], ["d1", "d2"])
    # By then they had watched d2 and refused d1, and d9 was on the first page; of d11 they knew nothing.
    assert found[1].target == ["d3", "d4"]
    assert replayed(database, release, pins=["d11"])[1].target == ["d11", "d3"]


def test_popularity_is_that_of_the_days_before(database: Database, release: Release) -> None:
    with database.writing() as connection:
        add_events(connection, [event_row(f"e{n}", f"u{n}", "d5", at=NOW + n) for n in range(9)])
        add_events(connection, [event_row("old", "u0", "d7", at=NOW - 90_000)])
    logged(database, "r1", '["d1"]', "[0.6]", NOW + 10)
    assert replayed(database, release)[0].target == ["d7"]


def test_estimates_are_of_views_per_result() -> None:
    found: OfflineEstimates = estimates([LoggedAnswer(f"u{n}", ["a"], [1.0], [n % 4 == 0], ["a"]) for n in range(400)])
    assert found.ips.value == found.snips.value == found.logged.value == 0.25
    assert found.dr.value == pytest.approx(0.25) and found.effective == 400 and found.overlap == 1

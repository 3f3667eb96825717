"""Rounds with retraining: a tower learns only from what came before, and the loop is compared with the same people."""

from pathlib import Path

import numpy as np
import pytest

from live_case import Release
from ordered_people import EACH, KINDS
from rayreel.recommendation.config import RecommendConfig
from rayreel.release.snapshot import Snapshot
from rayreel.simulation.here import ServedHere
from rayreel.simulation.people import Reaction, SimulatedPerson
from rayreel.simulation.retraining import LOOP, Retraining, leads, simulate_retraining
from rayreel.simulation.rounds import NothingToSimulate, RoundResult
from rayreel.tower.config import UserTowerConfig
from release_rows import DIM, release_row

TOWER = UserTowerConfig(width=16, heads=2, history=8, epochs=12, batch_size=256, learning_rate=0.01)
CONFIG = RecommendConfig()


def snapshot(folder: Path, kinds: int = KINDS) -> Snapshot:
    """Videos of a few kinds, each near an axis of its own; kind = number % kinds, which is the category."""
    rng, rows = np.random.default_rng(0), []
    for number in range(KINDS * EACH):
        vector_D = np.eye(DIM)[number % KINDS] + 0.2 * rng.normal(size=DIM)
        unit_D = (vector_D / np.linalg.norm(vector_D)).astype(np.float32)
        rows.append(release_row(f"v{number:02}", embedding=unit_D, category=f"c{number % kinds}"))
    return Release(folder, rows, neighbours=4).live.snapshot


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Snapshot:
    return snapshot(tmp_path_factory.mktemp("retraining"))


def someone(number: int) -> SimulatedPerson:
    return SimulatedPerson(f"p{number}", set(), np.random.default_rng(number))


def test_a_tower_knows_what_came_before_it_and_serves_once_its_gate_releases_it(release: Snapshot) -> None:
    policy, rng, people = ServedHere(release, CONFIG), np.random.default_rng(0), [someone(n) for n in range(120)]
    last = {person.name: int(rng.integers(KINDS)) for person in people}
    for visit in range(9):  # one kind after another: what a mean of the history cannot know
        for person in people:
            last[person.name] = (last[person.name] + 1) % KINDS
            rows = [row for row in range(KINDS * (EACH - 1)) if row % KINDS == last[person.name]]
            video = f"v{rng.choice([row for row in rows if f'v{row:02}' not in person.seen]):02}"
            person.seen.add(video)
            policy.learn(person, [video], [Reaction(video, 2.0, "like" if visit % 2 else None)])
    choice = policy.retrain(TOWER, 0)
    assert choice.tower is not None and choice.p < 0.05
    watched = {row["video_id"] for row in policy.interactions().to_pylist()}
    assert set(choice.tower.codes) <= watched and not set(choice.tower.codes) & {f"v{n}" for n in range(54, 60)}
    shown = [(policy.show(person, 5), (last[person.name] + 1) % KINDS) for person in people]
    right = np.mean([int(video[1:]) % KINDS == following for videos, following in shown for video in videos])
    assert right > 0.6  # by chance 1 in 6


def test_what_a_person_has_watched_or_disliked_does_not_come_back(release: Snapshot) -> None:
    policy, person = ServedHere(release, CONFIG), someone(0)
    policy.learn(person, ["v00", "v06"], [Reaction("v00", 2.0, None), Reaction("v06", 1.0, "dislike")])
    assert not {"v00", "v06"} & set(policy.show(person, 60)) and len(policy.show(person, 60)) == 58
    assert policy.show(person, 3)[0] in {f"v{number:02}" for number in range(0, 60, KINDS)}  # like v00
    rows = policy.interactions().to_pylist()
    assert [(row["video_id"], row["dwell_s"]) for row in rows] == [("v00", 2.0), ("v06", 1.0)]


def test_all_begin_with_the_same_round_and_the_loop_does_not_collapse(release: Snapshot) -> None:
    plan = Retraining(people=60, rounds=1, visits=3, top_k=6, drift=0.0, explore=0.1, seed=1)
    config = TOWER.model_copy(update={"epochs": 1})
    found = list(simulate_retraining(release, CONFIG, config, plan))
    assert [(one.policy, one.number) for one in found[:5]] == [
        (policy, 0) for policy in ("random", "popularity", "content", "user tower", LOOP)
    ]
    assert len({one.shares for one in found[:5]}) == 1
    last = {one.policy: one for one in found[5:]}
    assert last[LOOP].ctr > 1.3 * last["random"].ctr and last[LOOP].ndcg > 1.5 * last["random"].ndcg
    assert last[LOOP].coverage > 0.9 > last["popularity"].coverage
    assert last[LOOP].gini < last["popularity"].gini
    ahead = next(lead for lead in leads(found) if (lead.over, lead.number) == ("random", 1))
    assert ahead.value == pytest.approx(last[LOOP].ctr - last["random"].ctr) and ahead.low > 0


def test_leads_are_of_the_same_people() -> None:
    def result(policy: str, *shares: float) -> RoundResult:
        return RoundResult(policy, 1, float(np.mean(shares)), 0, 0, 0, 0, shares)

    found = leads([result("random", 0.0, 0.2, 0.4), result(LOOP, 0.1, 0.3, 0.5)])
    assert found[0][:2] == ("random", 1) and found[0][2:] == pytest.approx((0.1, 0.1, 0.1))


def test_people_need_categories_to_have_tastes(tmp_path: Path) -> None:
    plan = Retraining(people=2, rounds=1, visits=1, top_k=1, drift=0.0, explore=0.0, seed=0)
    with pytest.raises(NothingToSimulate):
        list(simulate_retraining(snapshot(tmp_path, kinds=1), CONFIG, TOWER, plan))

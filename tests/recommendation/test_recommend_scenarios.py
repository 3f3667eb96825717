"""Scenarios: rules, freshness, near-duplicates, caps and pins, read from a file."""

import time
from collections import Counter
from pathlib import Path

import numpy as np
import pytest

from live_case import Release, at, explanation, pinned
from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.candidates import RankedCandidates
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import PinnedRelease, by_id, by_user, recommend
from rayreel.recommendation.results import RankedResults
from rayreel.recommendation.scenarios import FILE, BadScenarios, Scenario, read_scenarios
from rayreel.recommendation.steps import explored
from rayreel.recommendation.users import WatchedVideo
from rayreel.storage import Storage
from release_rows import release_row

DAY = 86_400.0


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Twelve videos at 0 to 110 degrees of a plane, by two creators in turn; d9 is of today, the others are old."""
    rows = (
        release_row(
            f"d{n}",
            embedding=at(10.0 * n),
            category="low" if n < 6 else "high",
            extra={"creator": f"c{n % 2}"},
            created_at=time.time() - (0 if n == 9 else 1000 * DAY),
        )
        for n in range(12)
    )
    return Release(tmp_path_factory.mktemp("scenarios"), rows, neighbours=4)


def like_d0(release: Release, top_k: int = 4, explain: bool = False, **scenario: object) -> RankedResults:
    options = Options(top_k=top_k, explain=explain, scenario=Scenario.model_validate(scenario))
    return by_id(pinned(release.live), "d0", options)


def ids(found: RankedResults) -> list[str]:
    return [video.video_id for video in found]


def test_a_scenario_without_steps_changes_nothing(release: Release) -> None:
    assert ids(like_d0(release)) == ["d1", "d2", "d3", "d4"]


def test_caps_limit_each_category_and_creator(release: Release) -> None:
    assert ids(like_d0(release, caps={"category": 2})) == ["d1", "d2", "d6", "d7"]
    assert ids(like_d0(release, caps={"extra.creator": 1})) == ["d1", "d2"]


def test_near_duplicates_of_a_result_are_dropped(release: Release) -> None:
    assert ids(like_d0(release, near_duplicates=0.98)) == ["d1", "d3", "d5", "d7"]  # cos 10° is .985, cos 20° .940


def test_rules_boost_and_bury_within_their_time(release: Release) -> None:
    rule = {"filter": {"category": "high"}, "score": 1.5}
    boosted = like_d0(release, top_k=1, explain=True, rules=[rule])
    assert ids(boosted) == ["d6"] and explanation(boosted[0]).stage == "rule"
    assert ids(like_d0(release, top_k=1, rules=[rule | {"until": "2020-01-01"}])) == ["d1"]
    assert ids(like_d0(release, top_k=1, rules=[{"filter": {"video_id": "d1"}, "score": -2}])) == ["d2"]


def test_freshness_raises_new_videos(release: Release) -> None:
    assert ids(like_d0(release, top_k=1, freshness=1.0)) == ["d9"]


def test_blocked_videos_are_not_returned_and_pinned_ones_come_first(release: Release) -> None:
    found = like_d0(release, block=["d1"], pins=["d8", "d1", "gone", "d2"], explain=True)
    assert ids(found) == ["d8", "d2", "d3", "d4"] and explanation(found[0]).stage == "pin"


def test_exploration_shows_other_candidates_as_often_as_their_propensity_says(release: Release) -> None:
    assert all(video.propensity is None for video in like_d0(release))
    shown = [like_d0(release, top_k=2, candidates=1, explore=0.4, explain=True) for _ in range(400)]
    drawn = [video for found in shown for video in found if explanation(video).stage == "explore"]
    others = {video.video_id for video in drawn}
    assert 0.33 < len(drawn) / 800 < 0.47 and others == {f"d{n}" for n in range(3, 11)}
    assert {video.propensity for found in shown for video in found} == {0.6, 2 * 0.4 / 8}
    assert all(len(set(ids(found))) == 2 for found in shown)


def test_propensities_are_the_shares_of_answers_that_have_a_video_even_without_candidates_left() -> None:
    def ranked(*places: int) -> RankedCandidates:
        return RankedCandidates(list(places), [1.0] * len(places), [""] * len(places))

    rng, counts, expected = np.random.default_rng(0), Counter[int](), dict[int, float]()
    for _ in range(20_000):
        found, propensities = explored(ranked(0, 1, 2, 3), ranked(*range(6)), 0.5, rng, frozenset({0}))
        counts.update(found.places)
        expected |= {place: propensities[place] for place in found.places}
    assert {place: counts[place] / 20_000 for place in expected} == pytest.approx(expected, abs=0.015)
    assert expected[0] == 1 and expected[1] == 0.5 and expected[3] > 0.6 and expected[4] == expected[5]
    assert sum(expected.values()) == pytest.approx(4)


def test_pins_are_never_replaced_by_exploration(release: Release) -> None:
    shown = [like_d0(release, top_k=3, pins=["d8"], explore=0.9) for _ in range(30)]
    assert {(found[0].video_id, found[0].propensity) for found in shown} == {("d8", 1.0)}


def test_a_pin_does_not_bring_back_what_the_user_has_watched(release: Release) -> None:
    options = Options(top_k=2, scenario=Scenario(pins=("d5", "d7")))
    assert ids(by_user(pinned(release.live), [WatchedVideo("d5")], [], options))[0] == "d7"


def test_a_scenario_is_chosen_by_its_name(release: Release) -> None:
    known = PinnedRelease(
        release.live, pinned(release.live).index, "", pinned(release.live).config, {"home": Scenario(pins=("d8",))}
    )
    assert ids(recommend(known, RecommendRequest(video_id="d0", top_k=1, scenario="home"))) == ["d8"]
    with pytest.raises(BadQuery, match="Known scenarios: home"):
        recommend(known, RecommendRequest(video_id="d0", scenario="shop"))


def test_scenarios_are_read_from_a_file_below_the_storage_root(tmp_path: Path) -> None:
    storage = Storage(tmp_path)
    assert read_scenarios(storage) == {}
    (tmp_path / FILE).write_text(
        "home:\n  near_duplicates: 0.97\n  caps: {category: 3, extra.source: 2}\n"
        "  rules:\n    - {filter: {tags: {any: [sale]}}, score: 0.2, since: 2026-11-27, until: 2026-12-01}\n"
    )
    home = read_scenarios(storage)["home"]
    assert home.caps == {"category": 3, "extra.source": 2} and home.rules[0].score == 0.2


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("home: [", "not valid YAML"),
        ("home: {caps: {colour: 1}}", "extra.KEY"),
        ("home: {rules: [{filter: {colour: red}, score: 1}]}", "unknown field"),
        ("home: {near: 1}", "home.near"),
    ],
)
def test_an_invalid_file_of_scenarios_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadScenarios, match=message):
        read_scenarios(Storage(tmp_path))

"""Who takes part in which arm, and the file of experiments."""

from collections import Counter
from pathlib import Path

import pytest

from rayreel.experiments.plan import FILE, BadExperiments, Experiment, named_experiment, read_experiments
from rayreel.recommendation.scenarios import Scenario
from rayreel.storage import Storage

PEOPLE = [f"user-{n}" for n in range(20_000)]
SCENARIOS = {"home": Scenario(), "new": Scenario()}


def experiment(salt: str = "", **shares: float) -> Experiment:
    return Experiment.model_validate(
        {
            "scenario": "home",
            "salt": salt,
            "arms": {arm: {"share": share, "release": n + 1} for n, (arm, share) in enumerate(shares.items())},
        }
    )


def arms(of: Experiment, name: str = "x") -> list[str | None]:
    return [of.arm_of(name, person) for person in PEOPLE]


def moved(before: Experiment, after: Experiment) -> Counter[tuple[str | None, str | None]]:
    return Counter(pair for pair in zip(arms(before), arms(after), strict=True) if pair[0] != pair[1])


def test_arms_have_their_shares_and_the_rest_takes_no_part() -> None:
    counts = Counter(arms(experiment(control=0.5, a=0.2, b=0.1)))
    shares = {"control": 0.5, "a": 0.2, "b": 0.1, None: 0.2}
    assert {arm: counts[arm] / len(PEOPLE) for arm in shares} == pytest.approx(shares, abs=0.012)


def test_a_person_keeps_their_arm_and_another_salt_draws_again() -> None:
    plain = experiment(control=0.5, a=0.5)
    assert arms(plain) == arms(plain)
    pairs = Counter(zip(arms(plain), arms(experiment("again", control=0.5, a=0.5)), strict=True))
    assert min(pairs.values()) / len(PEOPLE) == pytest.approx(0.25, abs=0.015)
    assert arms(plain, "x") != arms(plain, "y")


def test_a_changed_share_moves_only_as_many_people_as_it_changes_by() -> None:
    more = moved(experiment(control=0.5, a=0.3), experiment(control=0.5, a=0.4))
    assert set(more) == {(None, "a")} and sum(more.values()) / len(PEOPLE) == pytest.approx(0.1, abs=0.01)
    added = moved(experiment(control=0.4, a=0.3), experiment(control=0.4, a=0.3, b=0.2))
    assert set(added) == {(None, "b")} and sum(added.values()) / len(PEOPLE) == pytest.approx(0.2, abs=0.012)
    only = moved(experiment(control=0.6, a=0.4), experiment(control=0.4, a=0.6))
    assert set(only) == {("control", "a")} and sum(only.values()) / len(PEOPLE) == pytest.approx(0.2, abs=0.012)
    ramped = moved(experiment(control=0.05, a=0.05), experiment(control=0.25, a=0.25))
    assert {before for before, _ in ramped} == {None}
    assert sum(ramped.values()) / len(PEOPLE) == pytest.approx(0.4, abs=0.012)


def test_experiments_are_read_from_a_file(tmp_path: Path) -> None:
    assert read_experiments(Storage(tmp_path), SCENARIOS) == {}
    (tmp_path / FILE).write_text("x: {scenario: home, arms: {old: {share: 0.9}, new: {share: 0.1, scenario: new}}}\n")
    found = named_experiment(read_experiments(Storage(tmp_path), SCENARIOS), "x")
    assert found.control == "old" and [found.scenario_of(arm) for arm in found.arms] == ["home", "new"]
    with pytest.raises(BadExperiments, match="Known experiments: x"):
        named_experiment({"x": found}, "y")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("x: [", "not valid YAML"),
        ("x: {scenario: home, arms: {a: {share: 1}}}", "at least 2"),
        ("x: {scenario: home, arms: {a: {share: 0.6}, b: {share: 0.6}}}", "shares sum to 1.2"),
        ("x: {scenario: home, arms: {a: {share: 0.6}, b: {share: 0.1, scenario: gone}}}", "no scenario gone"),
        (
            "x: {scenario: home, arms: {a: {share: .5}, b: {share: .3, release: 2}, c: {share: .1, scenario: home}}}",
            "the arms a and c have the same scenario and the same release",
        ),
        ("x: {scenario: home, arms: {a: {share: 0.6}, b: {share: 0.1, release: 0}}}", "greater than or equal to 1"),
        (
            "x: &x {scenario: home, arms: {a: {share: 0.5}, b: {share: 0.5, scenario: new}}}\ny: *x",
            "two experiments for scenario home",
        ),
    ],
)
def test_an_invalid_file_of_experiments_is_reported(tmp_path: Path, text: str, message: str) -> None:
    (tmp_path / FILE).write_text(text)
    with pytest.raises(BadExperiments, match=message):
        read_experiments(Storage(tmp_path), SCENARIOS)

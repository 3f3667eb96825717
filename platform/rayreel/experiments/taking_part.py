"""The experiment that a request takes part in, and its arm."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from rayreel.events.export import name_of_session
from rayreel.events.read import Owner, ends_of
from rayreel.experiments.plan import Experiment


class TakenPart(NamedTuple):
    """The arm of a person, and what answers them: that of the control once their arm has ended.

    `release` is None for the one that serves.
    """

    experiment: str
    arm: str
    scenario: str
    release: int | None = None


def part_of(
    connection: Connection, experiments: Mapping[str, Experiment], scenario: str | None, owner: Owner
) -> TakenPart | None:
    """Return which part a person has in the experiment on a scenario; None without one, or if they have none."""
    for name, experiment in experiments.items():
        if experiment.scenario != scenario:
            continue
        arm = experiment.arm_of(name, owner.user_id or name_of_session(owner.session_id or ""))
        if arm is None:
            return None
        arm = experiment.control if arm in ends_of(connection, name) else arm
        return _part(name, experiment, arm)
    return None


def instead_of(part: TakenPart, experiments: Mapping[str, Experiment]) -> TakenPart:
    """Return what answers if the release of a part cannot: the control, and for the control the serving release."""
    experiment = experiments[part.experiment]
    control = _part(part.experiment, experiment, experiment.control)
    return control._replace(release=None) if control == part else control


def _part(name: str, experiment: Experiment, arm: str) -> TakenPart:
    return TakenPart(name, arm, experiment.scenario_of(arm), experiment.arms[arm].release)

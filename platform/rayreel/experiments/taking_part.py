"""The experiment that a request takes part in, and its arm."""

from collections.abc import Mapping
from typing import NamedTuple

from sqlalchemy import Connection

from rayreel.events.export import name_of_session
from rayreel.events.read import Owner, ends_of
from rayreel.experiments.plan import Experiment


class TakenPart(NamedTuple):
    """The arm of a person, and the scenario that answers them: the control's once their arm has ended."""

    experiment: str
    arm: str
    scenario: str


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
        return TakenPart(name, arm, experiment.scenario_of(arm))
    return None

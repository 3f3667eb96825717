"""Guardrails: an arm that is out of bounds is ended, and its users return to the control."""

import logging
import time
from collections.abc import Iterator, Mapping

from rayreel.client.experiments import ArmReport, ExperimentReport
from rayreel.events.database import Database
from rayreel.events.write import add_end
from rayreel.experiments.plan import Experiment
from rayreel.experiments.report import report
from rayreel.recommendation.live import Live
from rayreel.release import audit
from rayreel.training.tracking import TrackingUnavailable

log = logging.getLogger(__name__)


def guard(database: Database, live: Live, experiments: Mapping[str, Experiment], by: str) -> list[tuple[str, str]]:
    """End the arms that are out of bounds, with an entry in the audit trail; return them with their experiments.

    Blocks. Every replica may do this: the first one ends the arm. Raises EventsUnavailable.
    """
    ended = []
    for name, experiment in experiments.items():
        if experiment.guardrails.model_fields_set - {"creator"}:
            with database.reading() as connection:
                found = report(connection, live, name, experiment, time.time())
            ended += [
                (name, arm) for arm, why in out_of_bounds(found, experiment) if _end(database, found, arm, why, by)
            ]
    return ended


def out_of_bounds(found: ExperimentReport, experiment: Experiment) -> Iterator[tuple[str, str]]:
    """Yield each arm that is out of bounds and has not ended, with the reason."""
    control, *others = found.arms
    for arm in others:
        enough = min(row.users + row.waiting for row in (arm, control)) >= experiment.min_users
        if enough and arm.ended is None and (reasons := list(_broken(arm, control, experiment))):
            yield arm.arm, "; ".join(reasons)


def _broken(arm: ArmReport, control: ArmReport, experiment: Experiment) -> Iterator[str]:
    bounds = experiment.guardrails
    if bounds.min_coverage is not None and arm.different is not None and control.different:
        share = arm.different / control.different
        if share < bounds.min_coverage:
            yield f"coverage is {share:.3f} of the control's, below {bounds.min_coverage:g}"
    if bounds.max_drift is not None and arm.drift is not None and arm.drift > bounds.max_drift:
        yield f"categories differ from the control's by {arm.drift:.3f} bits, above {bounds.max_drift:g}"
    repeated = arm.repeated_creators
    if bounds.max_repeated is not None and repeated is not None and repeated > bounds.max_repeated:
        yield f"the share of repeated creators is {repeated:.3f}, above {bounds.max_repeated:g}"


def _end(database: Database, found: ExperimentReport, arm: str, why: str, by: str) -> bool:
    with database.writing() as connection:
        is_first = add_end(connection, found.experiment, arm, by, why)
    if is_first:
        reason = f"experiment {found.experiment}, arm {arm}: {why}; its users return to the control"
        log.warning("%s", reason)
        try:
            audit.arm_ended(found.release, by, reason)
        except TrackingUnavailable as error:  # the event store has the reason too
            log.error("the audit trail could not be written: %s", error)
    return is_first

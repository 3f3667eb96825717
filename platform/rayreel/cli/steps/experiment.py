"""Reports of experiments, and estimates before them."""

import time
from dataclasses import asdict

from rich.table import Table

from rayreel.cli.output import console, emit, facts, note, step
from rayreel.cli.steps.local import local_release
from rayreel.client.experiments import ArmReport, ExperimentReport, MeasuredDifference
from rayreel.client.messages import RecommendOptions
from rayreel.events.database import Database
from rayreel.experiments.offline import estimates
from rayreel.experiments.plan import named_experiment, read_experiments
from rayreel.experiments.replayed import Replay
from rayreel.experiments.report import report
from rayreel.index.collection import collection_name
from rayreel.recommendation.local import load_promoted
from rayreel.recommendation.recommend import PinnedRelease, options_of
from rayreel.recommendation.scenarios import read_scenarios
from rayreel.release.snapshot import kept_versions
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking


def print_report(settings: Settings, name: str) -> None:
    """Print the report of an experiment. Raises BadExperiments, BadScenarios, NoRelease, EventsUnavailable."""
    experiment = named_experiment(read_experiments(settings.place, read_scenarios(settings.place)), name)
    use_tracking(settings.place)
    live = load_promoted(settings.place, settings.release.snapshot_cache)
    database = Database(settings.events, settings.place)
    with database.reading() as connection:
        found = report(connection, live, name, experiment, time.time(), kept=kept_versions(settings.place))
    database.close()
    console.print(_table(found))
    for arm in found.arms:
        if arm.ended is not None:
            note(f"{arm.arm} has ended: {arm.ended}")
        if arm.lacks_release:
            note(f"Release {arm.release} of {arm.arm} is not kept: its users get the answers of the control.")
    emit(found.model_dump())


def print_estimate(settings: Settings, scenario: str) -> None:
    """Print what a scenario would reach. Raises NoPropensities, NoOverlap, BadQuery, EventsUnavailable."""
    local, scenarios = local_release(settings), read_scenarios(settings.place)
    target = options_of(RecommendOptions(scenario=scenario), settings.recommend, scenarios).scenario
    assert target is not None, "the scenario was found"
    release = PinnedRelease(local.live, local.index, collection_name(local.live.version), settings.recommend)
    step(f"Asking {scenario} instead, for the kept answers of release {local.live.version} that explored")
    database = Database(settings.events, settings.place)
    with database.reading() as connection:
        found = estimates(list(Replay(connection, release, target).answers()))
    database.close()
    known = {"answers": f"{found.answers:,}", "people": f"{found.people:,}", "overlap": f"{found.overlap:.3f}"}
    known |= {"effective number of results": f"{found.effective:,.0f}"}
    values = {"logged": found.logged, "IPS": found.ips, "SNIPS": found.snips, "DR": found.dr}
    shown = {
        f"views per result, {name}": f"{of.value:.4f} [{of.low:.4f}, {of.high:.4f}]" for name, of in values.items()
    }
    console.print(facts(f"Scenario {scenario}", known | shown))
    emit(asdict(found) | {name: getattr(found, name)._asdict() for name in ("logged", "ips", "snips", "dr")})


def _table(found: ExperimentReport) -> Table:
    rows = {
        "scenario": [arm.scenario for arm in found.arms],
        "release": [str(arm.release or "serving") for arm in found.arms],
        "share of the users": [f"{arm.share:.2f}" for arm in found.arms],
        "users": [f"{arm.users:,}" for arm in found.arms],
        "still observed": [f"{arm.waiting:,}" for arm in found.arms],
        f"seen ({found.seen_by})": [f"{arm.shown:,}" for arm in found.arms],
        "CTR": [_shown(arm.ctr) for arm in found.arms],
        "CTR, to control": [_interval(arm, arm.ctr_difference) for arm in found.arms],
        "seconds watched": [_shown(arm.dwell_s, 1) for arm in found.arms],
        "log(1 + seconds), to control": [_interval(arm, arm.log_dwell_difference) for arm in found.arms],
        "coverage": [_shown(arm.coverage) for arm in found.arms],
        "novelty, bits": [_shown(arm.novelty, 2) for arm in found.arms],
        "category drift, bits": [_shown(arm.drift) for arm in found.arms],
        "repeated creators": [_shown(arm.repeated_creators) for arm in found.arms],
    }
    table = Table("", *(arm.arm for arm in found.arms), title=f"Experiment {found.experiment}", title_justify="left")
    for name, values in rows.items():
        table.add_row(name, *values)
    return table


def _shown(value: float | None, digits: int = 4) -> str:
    return "" if value is None else f"{value:.{digits}f}"


def _interval(arm: ArmReport, found: MeasuredDifference | None) -> str:
    if found is None:
        return "" if arm.drift is None else "too few users"
    return f"{found.value:+.4f} [{found.low:+.4f}, {found.high:+.4f}]"

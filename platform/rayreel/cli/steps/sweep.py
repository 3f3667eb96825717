"""Training the trials of a sweep, comparing them and training the best cell for the registry."""

import json
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rayreel.cli.output import console, note, step
from rayreel.cli.steps.evaluate import terminal_table
from rayreel.cli.steps.ray_session import use_ray
from rayreel.cli.steps.train import TrainingInputs, inputs_of, job_of, run_parameters, train_tower
from rayreel.evaluation import report
from rayreel.features.matrix import FeatureMatrix
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.training.sweep.compare import SweepComparison, common_select, compare
from rayreel.training.sweep.grid import Cell, ImpossibleGrid, common, labels
from rayreel.training.sweep.run import run_trials
from rayreel.training.sweep.table import as_json, failures, markdown, table_of
from rayreel.training.sweep.trial import SweepTrial, TrialOutcome, log_test
from rayreel.training.tracking import log_report, tracked, use_tracking


@dataclass(frozen=True, slots=True)
class SweepResult:
    """A finished sweep: its comparison, the MLflow run over all trials, and the inputs that all trials share."""

    comparison: SweepComparison
    run_id: str
    inputs: TrainingInputs

    def as_dict(self) -> dict[str, Any]:
        """Return the result for --json."""
        return {"run_id": self.run_id, **as_json(self.comparison)}


def run_sweep(
    settings: Settings, cells: Sequence[Cell], resolved: Sequence[Settings], seeds: int, parallel: int
) -> SweepResult:
    """Train every cell with its `resolved` settings, compare the trials, show and log the result.

    Raises ImpossibleGrid if a cell trains nothing.
    """
    if untrained := {own.train.recipe for own in resolved} - {"auto", "tower"}:
        raise ImpossibleGrid(
            f"A sweep trains towers, and train.recipe={untrained.pop()} trains none. Leave it out of the sweep, and "
            "register that version with `rayreel train`."
        )
    inputs, name = inputs_of(settings), datetime.now(UTC).strftime("sweep-%Y%m%d-%H%M%S")
    trials = _trials(name, cells, resolved, seeds, inputs)
    result = _train_and_compare(name, settings, cells, trials, inputs, parallel)
    _log(result, cells)
    console.print(terminal_table(table_of(result.comparison), console.width))
    for line in failures(result.comparison.outcomes):
        note(line)
    return result


def _compares_pairs(cells: Sequence[Cell]) -> bool:
    """Whether the cells differ in pairs or losses. No recipe may then choose those of a cell that has the defaults."""
    return any(change.startswith(("pairs.", "loss.")) for cell in cells for change in cell)


def _as_set(settings: Settings) -> Settings:
    return settings.model_copy(update={"train": settings.train.model_copy(update={"recipe": "tower"})})


def _trials(
    name: str, cells: Sequence[Cell], resolved: Sequence[Settings], seeds: int, inputs: TrainingInputs
) -> list[SweepTrial]:
    resolved = [_as_set(settings) for settings in resolved] if _compares_pairs(cells) else resolved
    jobs = [job_of(settings, inputs)[0] for settings in resolved]
    select = common_select([(job.train, job.pairs) for job in jobs], users=inputs.interactions is not None)
    trials: list[SweepTrial] = []
    for cell, label, settings, job in zip(cells, labels(cells), resolved, jobs, strict=True):
        for seed in range(settings.train.seed, settings.train.seed + seeds):
            # Trials are compared on validation videos, so none may train on them.
            train = job.train.model_copy(update={"seed": seed, "select": select, "refit": False})
            own, config = replace(job, train=train), settings.model_copy(update={"train": train})
            parameters = run_parameters(config, inputs, own)
            dumped = config.model_dump(mode="json")
            trials.append(SweepTrial(f"{name}-{len(trials):03}", cell, label, seed, own, parameters, dumped))
    return trials


def _train_and_compare(
    name: str,
    settings: Settings,
    cells: Sequence[Cell],
    trials: list[SweepTrial],
    inputs: TrainingInputs,
    parallel: int,
) -> SweepResult:
    parameters = {"features": inputs.features, "cells": len(cells), "trials": len(trials)}
    uri = use_tracking(settings.place)
    with tracked(settings.place, name, parameters, settings.model_dump(mode="json")) as parent:
        use_ray()
        shared = f"; each with {', '.join(common(cells))}" if common(cells) else ""
        step(f"{len(trials)} trials on {inputs.store.key} ({name}){shared}")
        outcomes = run_trials(trials, name, parent, uri, parallel=parallel, on_outcome=_show_outcome)
        matrix = FeatureMatrix.from_table(inputs.store.read())
        step("Measuring the towers on the test videos")
        comparison = compare(
            outcomes,
            settings.place,
            matrix,
            splits=settings.splits,
            config=settings.evaluation,
            interactions=inputs.interactions,
        )
        return SweepResult(comparison, parent, inputs)


def _show_outcome(outcome: TrialOutcome) -> None:
    score = f"{outcome.metric} {outcome.score:.3f} in {outcome.epochs} epochs"
    step(f"{outcome.trial.title}: {outcome.trouble or score}")


def _log(result: SweepResult, cells: Sequence[Cell]) -> None:
    comparison = result.comparison
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sweep.md").write_text(markdown(comparison, common(cells)))
        (folder / "sweep.json").write_text(json.dumps(as_json(comparison), indent=1))
        (folder / "evaluation.md").write_text(report.markdown(comparison.evaluation))
        log_report(result.run_id, comparison.test(comparison.best), folder)
    for outcome in comparison.outcomes:
        log_test(outcome, comparison.test(outcome))


def register_best(result: SweepResult, settings: Settings) -> Version:
    """Train the best cell again as `rayreel train` does, and register that tower as challenger.

    No trial trained on validation videos or chose how a release averages its vectors.
    """
    best = Settings(**result.comparison.best.trial.config)
    train = best.train.model_copy(update={"refit": settings.train.refit, "select": settings.train.select})
    return train_tower(best.model_copy(update={"train": train})).version

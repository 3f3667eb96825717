"""Train a grid of settings and compare what they come to in one table."""

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from ray.train import Checkpoint

from command import ConfigFile, Sets, StorageRoot, console, finish, following, run, step, use_ray
from evaluate import shown
from rayreel.evaluation import report
from rayreel.features.matrix import FeatureMatrix
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.sweep.compare import SweepComparison, common_select, compare
from rayreel.training.sweep.grid import PRESETS, Cell, cells_of, common, labels
from rayreel.training.sweep.run import run_trials
from rayreel.training.sweep.table import as_json, failures, markdown, table_of
from rayreel.training.sweep.trial import SweepTrial, TrialOutcome, log_test
from rayreel.training.tracking import git_commit, log_report, tracked, use_tracking
from rayreel.training.validation import SCORE
from train import LEARNS_FROM, Data, data_of, flat, job_of


def main(
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="PART.KEY=A,B", help="Values to try, such as loss.kind=triplet,infonce. May be repeated."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"A named grid: {', '.join(PRESETS)}.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Train each cell with so many seeds; shows mean ± sd.")] = 1,
    parallel: Annotated[int, typer.Option(min=1, help="Trials at a time at most, as far as CPUs or GPUs reach.")] = 2,
    interactions: Annotated[
        str | None, typer.Option(help="Who watched what: CSV, Parquet or RecBole .inter file (interactions).")
    ] = None,
    register_best: Annotated[bool, typer.Option(help="Register the best trial's tower as challenger.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Train every cell of a grid as jobs/train.py would, rank them on validation and measure all on the test videos.

    MLflow gets one run for the sweep, with a run below it for each trial. A trial that fails is a row with its reason.
    """
    given = [*(sets or []), *([] if interactions is None else [f"interactions={json.dumps(interactions)}"])]
    settings = load_settings(config, given, storage)
    cells = cells_of(preset, grid or [])
    resolved = [load_settings(config, [*given, *cell], storage) for cell in cells]
    data, name = data_of(settings), datetime.now(UTC).strftime("sweep-%Y%m%d-%H%M%S")
    trials = _trials(name, cells, resolved, seeds, data)
    comparison, parent = _sweep(name, settings, cells, trials, data, parallel)
    _log(comparison, parent, cells)
    console.print(shown(table_of(comparison), console.width))
    for line in failures(comparison.outcomes):
        console.print(line, markup=False, highlight=False)
    written = f"artifacts evaluation/sweep.md and sweep.json of MLflow run {parent}"
    if register_best:
        version = _register(comparison, settings, data)
        finish(
            f"{written}; {registry.MODEL} version {version.number}, alias {registry.CHALLENGER}",
            following("evaluate", settings, config, given),
        )
    else:
        finish(written, following("train", settings, config, [*given, *comparison.best.trial.cell]))


def _trials(name: str, cells: Sequence[Cell], resolved: Sequence[Settings], seeds: int, data: Data) -> list[SweepTrial]:
    select = common_select(
        [(settings.train, settings.pairs) for settings in resolved], users=data.interactions is not None
    )
    trials: list[SweepTrial] = []
    for cell, label, settings in zip(cells, labels(cells), resolved, strict=True):
        for seed in range(settings.train.seed, settings.train.seed + seeds):
            train = settings.train.model_copy(update={"seed": seed, "select": select})
            own = settings.model_copy(update={"train": train})
            config = own.model_dump(mode="json")
            parameters = {**data.about(own), **flat({part: config[part] for part in LEARNS_FROM})}
            trials.append(
                SweepTrial(f"{name}-{len(trials):03}", cell, label, seed, job_of(own, data), parameters, config)
            )
    return trials


def _sweep(
    name: str, settings: Settings, cells: Sequence[Cell], trials: list[SweepTrial], data: Data, parallel: int
) -> tuple[SweepComparison, str]:
    """Train and compare; also the id of the MLflow run over all trials."""
    parameters = {"features": data.features, "cells": len(cells), "trials": len(trials)}
    uri = use_tracking(settings.place)
    with tracked(settings.place, name, parameters, settings.model_dump(mode="json")) as parent:
        use_ray()
        shared = f"; each with {', '.join(common(cells))}" if common(cells) else ""
        step(f"{len(trials)} trials on {data.store.key} ({name}){shared}")
        outcomes = run_trials(trials, name, parent, uri, parallel=parallel, on_outcome=_on_outcome)
        matrix = FeatureMatrix.from_table(data.store.read())
        step("Measuring the towers on the test videos")
        comparison = compare(
            outcomes,
            settings.place,
            matrix,
            splits=settings.splits,
            config=settings.evaluation,
            interactions=data.interactions,
        )
        return comparison, parent


def _on_outcome(outcome: TrialOutcome) -> None:
    came_to = f"{SCORE} {outcome.score:.3f} in {outcome.epochs} epochs"
    step(f"{outcome.trial.title}: {outcome.trouble or came_to}")


def _log(comparison: SweepComparison, parent: str, cells: Sequence[Cell]) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "sweep.md").write_text(markdown(comparison, common(cells)))
        (folder / "sweep.json").write_text(json.dumps(as_json(comparison), indent=1))
        (folder / "evaluation.md").write_text(report.markdown(comparison.evaluation))
        log_report(parent, comparison.test(comparison.best), folder)
    for outcome in comparison.outcomes:
        log_test(outcome, comparison.test(outcome))


def _register(comparison: SweepComparison, settings: Settings, data: Data) -> Version:
    best = comparison.best
    about = data.about(Settings(**best.trial.config))
    facts = {SCORE: best.score, "epochs": best.epochs, "git commit": git_commit()}
    checkpoint = Checkpoint(best.checkpoint, settings.place.filesystem)
    run = tracked(settings.place, best.trial.name, {}, {}, run_id=best.run_id)
    with run, checkpoint.as_directory() as folder:
        return registry.register(Path(folder), about, facts)


if __name__ == "__main__":
    run(main)

"""`rayreel sweep`: train a grid of settings and compare the results in one table."""

import json
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Interactions, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import load_settings
from rayreel.training.sweep.grid import PRESETS, cells_of


def main(
    grid: Annotated[
        list[str] | None,
        typer.Option(metavar="PART.KEY=A,B", help="Values to try, such as loss.kind=triplet,infonce. May be repeated."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help=f"A named grid: {', '.join(PRESETS)}.")] = None,
    seeds: Annotated[int, typer.Option(min=1, help="Seeds per cell; the table shows mean ± sd.")] = 1,
    parallel: Annotated[int, typer.Option(min=1, help="Maximum trials at a time, if CPUs or GPUs suffice.")] = 2,
    interactions: Interactions = None,
    register_best: Annotated[
        bool, typer.Option(help="Train the best cell as `rayreel train` does and register it as challenger.")
    ] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Train every cell of a grid as `rayreel train` would, rank the trials on validation and measure all on test.

    MLflow gets one run for the sweep, with a child run for each trial. A failed trial is a row with its reason.
    """
    changed = [*(sets or []), *([] if interactions is None else [f"interactions={json.dumps(interactions)}"])]
    settings = load_settings(config, changed, storage)
    cells = cells_of(preset, grid or [])
    resolved = [load_settings(config, [*changed, *cell], storage) for cell in cells]
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps import sweep as steps
    from rayreel.release import registry

    swept = steps.run_sweep(settings, cells, resolved, seeds, parallel)
    wrote = f"artifacts evaluation/sweep.md and sweep.json of MLflow run {swept.run_id}"
    if register_best:
        version = steps.register_best(swept, settings)
        wrote += f"; {registry.MODEL} version {version.number}, alias {registry.CHALLENGER}"
        then = next_command("evaluate", settings, config, changed)
        finish(swept.as_dict() | {"version": version.number}, wrote, then)
    else:
        best = [*changed, *swept.comparison.best.trial.cell]
        finish(swept.as_dict(), wrote, next_command("train", settings, config, best))

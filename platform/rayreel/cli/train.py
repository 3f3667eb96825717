"""`rayreel train`: train a tower on the feature store, or take frozen features, and register it as challenger."""

import json
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Interactions, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.errors import RayreelError
from rayreel.settings import load_settings


def main(
    epochs: Annotated[int | None, typer.Option(help="Passes over the videos (train.epochs).")] = None,
    workers: Annotated[
        str | None, typer.Option(help="Data-parallel workers (train.workers): 2, or 1:4 for as many as fit.")
    ] = None,
    interactions: Interactions = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Continue an interrupted run with its settings; `last`: the latest one."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Train a tower on the feature store, data-parallel; the best epoch becomes the challenger.

    The settings choose the pairs, the loss and the score that selects the best epoch, always on validation videos. The
    run is tracked in MLflow. `--set train.recipe=frozen` registers the encoders' features instead, without
    training and in seconds.
    """
    shortcuts = {"train.epochs": epochs, "train.workers": workers, "interactions": interactions}
    changed = [*(sets or []), *(f"{key}={json.dumps(value)}" for key, value in shortcuts.items() if value is not None)]
    if resume is not None and (changed or config is not None):
        raise RayreelError("--resume uses the settings that the run started with. Pass no other option but --storage.")
    settings = load_settings(config, changed, storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps.train import resume_run, train_tower
    from rayreel.release import registry

    trained = train_tower(settings) if resume is None else resume_run(settings, resume)
    finish(
        trained.as_dict(),
        f"{registry.MODEL} version {trained.version.number}, alias {registry.CHALLENGER}",
        next_command("evaluate", settings, config, changed),
    )

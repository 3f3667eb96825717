"""`rayreel train-action`: train a video network on labelled clips and make it a visual encoder."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.errors import RayreelError
from rayreel.settings import load_settings


def main(
    catalog: Annotated[
        str | None, typer.Option(help="Clips with a category each: a folder of class folders, or a manifest.")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Name of the encoder.", show_default="action-DATE-TIME")] = None,
    epochs: Annotated[int | None, typer.Option(help="Maximum passes over the clips (action.epochs).")] = None,
    workers: Annotated[int | None, typer.Option(help="Data-parallel workers (action.workers).")] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help="Continue an interrupted run with its settings; `last`: the latest one."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Train an R(2+1)D network end to end to classify clips; without its head, it is a visual encoder.

    Clips of one recording stay on one side of the split: recordings are taken from the catalog column splits.group_by,
    or from file names as in UCF101 (v_Class_gNN_cMM). If a catalog column `split` says test, as in UCF101's own lists,
    those clips are the test set. The best epoch is chosen on validation clips and measured once on test clips.

    The report has learning curves, the confusion matrix, and precision and recall of each class. It is written next to
    the encoder, as HTML, Markdown and JSON, and to the MLflow run.
    """
    shortcuts = {"action.epochs": epochs, "action.workers": workers}
    changed = [*(sets or []), *(f"{key}={value}" for key, value in shortcuts.items() if value is not None)]
    settings = load_settings(config, changed, storage)
    if resume is not None and (changed or config is not None or catalog is not None or name is not None):
        raise RayreelError("--resume uses the settings that the run started with. Pass no other option but --storage.")
    if resume is None and catalog is None:
        raise RayreelError("There are no clips to train on. Pass --catalog, or --resume to continue a run.")
    # Not before the settings are valid: these imports take seconds.
    from rayreel.catalog.read import read_catalog
    from rayreel.cli.steps.train_action import REPORT, resume_encoder, train_encoder
    from rayreel.training.action.register import MODEL

    if resume is not None:
        done = resume_encoder(settings, resume)
    else:
        name = name or datetime.now(UTC).strftime("action-%Y%m%d-%H%M%S")
        done = train_encoder(settings, read_catalog(str(catalog), settings.limits), name)
    folder = done.registered.folder
    finish(
        done.as_dict(),
        f"{folder}, {MODEL} version {done.registered.version}; report: {folder}/{REPORT}.html",
        next_command(
            "extract", settings, config, [*changed, f"encoders.visual={done.name}"], "--catalog", done.catalog
        ),
    )

"""The program `rayreel`."""

import logging
import os
import sys
from collections.abc import Callable
from typing import Annotated

import typer

from rayreel import __version__
from rayreel.cli import (
    dataset,
    encoders,
    enrich,
    evaluate,
    events,
    experiment,
    export,
    extract,
    follow,
    import_log,
    index,
    ingest,
    keys,
    map,
    promote,
    quickstart,
    sample,
    serve,
    settings,
    similar,
    simulate,
    sweep,
    train,
    train_action,
)
from rayreel.cli.options import settings_help
from rayreel.cli.output import fail
from rayreel.durable import full_disk
from rayreel.errors import RayreelError

# What each command reads of the settings, for its help.
_MEDIA = ("storage", "encoders", "sampling", "limits", "extract")
_TOWER = ("storage", "interactions", "splits", "tower", "loss", "pairs", "train", "evaluation")
COMMANDS: dict[str, tuple[Callable[..., None], tuple[str, ...]]] = {
    "quickstart": (quickstart.main, ("storage",)),
    "sample": (sample.main, ("storage", "sample")),
    "ingest": (ingest.main, ("storage",)),
    "extract": (extract.main, _MEDIA),
    "enrich": (enrich.main, ("storage", "interactions", "enrich")),
    "train": (train.main, (*_TOWER, "frozen")),
    "train-action": (train_action.main, ("storage", "action", "splits", "limits", "extract")),
    "sweep": (sweep.main, _TOWER),
    "evaluate": (evaluate.main, ("storage", "interactions", "evaluation")),
    "promote": (promote.main, ("storage", "index", "release")),
    "follow": (follow.main, ("storage", "index", "release")),
    "index": (index.main, ("storage", "index", "release")),
    "serve": (serve.main, ("storage", "serve")),
    "similar": (similar.main, ("storage", "encoders", "sampling", "limits", "recommend")),
    "map": (map.main, ("storage",)),
    "export": (export.main, ("storage", "encoders", "sampling")),
    "import": (import_log.main, ("storage", "events")),
    "settings": (settings.main, ()),
}
GROUPS: dict[str, typer.Typer] = {
    "dataset": dataset.app,
    "encoders": encoders.app,
    "events": events.app,
    "experiment": experiment.app,
    "keys": keys.app,
    "simulate": simulate.app,
}


def _show_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"rayreel {__version__}")
        raise typer.Exit


def _make_app() -> typer.Typer:
    app = typer.Typer(
        name="rayreel",
        help="From a collection of videos to content-based recommendations, on Ray.",
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        rich_markup_mode="rich",
    )
    for name, (command, parts) in COMMANDS.items():
        app.command(name, epilog=settings_help(*parts) if parts else None)(command)
    for name, group in GROUPS.items():
        app.add_typer(group, name=name)

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", help="Print the version.", callback=_show_version, is_eager=True)
        ] = False,
    ) -> None:
        """Options of the program itself."""

    return app


app = _make_app()


def main() -> None:
    """Run the program `rayreel`."""
    run(app)


def run_script(command: str) -> None:
    """Run one command as a program of its own, as the scripts in jobs/ do."""
    run(lambda: app(args=[command, *sys.argv[1:]], prog_name="rayreel"))


def run(program: Callable[[], object]) -> None:
    """Run a program; on a RayreelError or a full disk, print the error and exit with 1."""
    level = os.environ.get("RAYREEL_LOG", "WARNING").upper()
    logging.basicConfig(level=level, format="%(levelname)s %(name)s: %(message)s")
    try:
        program()
    except RayreelError as error:
        fail(error)
    except Exception as error:
        if (full := full_disk(error)) is None:
            raise
        fail(full)

"""`rayreel events`: export the event store for training, show and delete what is kept of a user."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Export what people did for training; show and delete what is kept of a user.",
)
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]


@app.command()
def export(config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False) -> None:
    """Write who watched what to events/interactions, as Parquet by month, for `rayreel train --interactions`."""
    from rayreel.cli.steps.events import export_events

    export_events(load_settings(config, sets or [], storage))


@app.command()
def show(
    user: UserId, config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False
) -> None:
    """Print everything that is kept of a user as JSON."""
    from rayreel.cli.steps.events import show_user

    show_user(load_settings(config, sets or [], storage), user)


@app.command()
def delete(
    user: UserId, config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False
) -> None:
    """Delete everything that is kept of a user, also in exports, and print the receipt."""
    from rayreel.cli.steps.events import delete_user

    delete_user(load_settings(config, sets or [], storage), user)

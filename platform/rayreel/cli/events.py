"""`rayreel events`: read Kafka topics, export for training, show and delete what is kept of a user."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Read events from Kafka, export them for training, show and delete what is kept of a user.",
)
UserId = Annotated[str, typer.Argument(metavar="USER", help="The user's id.")]


@app.command()
def export(config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False) -> None:
    """Write who watched what to events/interactions, as Parquet by month, for `rayreel train --interactions`."""
    from rayreel.cli.steps.events import export_events

    export_events(load_settings(config, sets or [], storage))


@app.command()
def consume(
    topic: Annotated[str, typer.Argument(help="A topic of JSON objects, each like an event of POST /v1/events.")],
    brokers: Annotated[str, typer.Option(metavar="HOST:PORT,…", help="Brokers of the Kafka cluster.")],
    group: Annotated[
        str, typer.Option(help="Consumer group. Processes of one group share the partitions.")
    ] = "rayreel",
    client: Annotated[
        Path | None, typer.Option(help="YAML file with more options of librdkafka, such as security.protocol.")
    ] = None,
    until_end: Annotated[bool, typer.Option("--until-end", help="Stop when every partition has been read.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Store the events of a Kafka topic, until it is stopped by Ctrl-C or SIGTERM.

    Each event is stored once: offsets are committed when events are on disk, and repeated messages are dropped. Invalid
    messages are logged with their topic, partition and offset.
    """
    from rayreel.cli.steps.consume import consume_topic

    consume_topic(load_settings(config, sets or [], storage), topic, brokers, group, client, until_end=until_end)


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

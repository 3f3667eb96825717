"""`rayreel import`: what people did elsewhere, from a log, into the event store."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.settings import load_settings


def main(
    log: Annotated[str, typer.Argument(help="CSV, Parquet, RecBole .inter or MovieLens file, or a folder of Parquet.")],
    names: Annotated[
        list[str] | None, typer.Option("--name", metavar="OURS=THEIRS", help="A column of another name.")
    ] = None,
    kind: Annotated[
        str | None,
        typer.Option("--type", help="Type of all events. Default: the column type, else rating, dwell or view."),
    ] = None,
    stars: Annotated[float, typer.Option(help="The best rating of the log; ratings are kept as 0 to 5.", min=1)] = 5.0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Add a log of who watched what to the event store. Running services see it at once.

    Columns: user_id, video_id, timestamp (a date, or seconds, milliseconds or microseconds since 1970), optional
    rating, dwell_s (seconds), type and event_id. A log can be imported again: known events are dropped, by event_id or
    by content. So are events of users who were deleted after them.
    """
    from rayreel.cli.steps.events import import_events

    import_events(load_settings(config, sets or [], storage), log, names or [], kind, stars)

"""`rayreel index`: bring a release up to date with the feature store, without a rebuild."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import load_settings


def main(
    version: Annotated[
        str | None, typer.Option(help="Number or alias in the registry.", show_default="the release that serves")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--verify", help="Set broken files aside, compare store, rows and index video by video, and repair."
        ),
    ] = False,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Make a new snapshot, however little has changed.")
    ] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Bring a release up to date with the feature store: embed new and changed videos, remove deleted ones.

    Serving continues, and a running service is notified. After a kill, run the same command again to continue.
    """
    settings = load_settings(config, sets or [], storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps.index import update_release
    from rayreel.training.tracking import use_tracking

    use_tracking(settings.place)
    candidate, result = update_release(settings, version, repair=repair, snapshot=snapshot)
    serve = next_command("serve", settings, config, sets or [])
    finish(
        result,
        f"{candidate.collection} and {candidate.rows.folder}",
        f"nothing to do if a service is running; otherwise {serve}",
    )

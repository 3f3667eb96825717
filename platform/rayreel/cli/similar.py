"""`rayreel similar`: videos similar to one of the promoted release or to a file, without a service."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import emit
from rayreel.settings import load_settings


def main(
    query: Annotated[str, typer.Argument(help="A video_id of the release, or a video file.", metavar="FILE_OR_ID")],
    k: Annotated[int, typer.Option("--k", min=1, max=200, help="Number of videos.")] = 10,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show the most similar videos of the release that was promoted last. No service needs to run.

    A file does not have to be in the catalog; it is decoded and encoded in this process.
    """
    from rayreel.cli.steps.similar import find_similar

    emit(find_similar(load_settings(config, sets or [], storage), query, k))

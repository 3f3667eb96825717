"""`rayreel similar`: videos similar to one of the promoted release or to a file, without a service."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, OwnSpace, Sets, SpaceMetric, StorageRoot, metric_of
from rayreel.cli.output import emit
from rayreel.settings import SettingsError, load_settings


def main(
    query: Annotated[str, typer.Argument(help="A video_id of the release, or a video file.", metavar="FILE_OR_ID")],
    k: Annotated[int, typer.Option("--k", min=1, max=200, help="Number of videos.")] = 10,
    options: Annotated[
        list[str] | None,
        typer.Option(
            "--option",
            metavar="NAME=VALUE",
            help="An option of POST /v1/recommend, such as diversity=0.3, 'filter={category: ocean}' or explain=true. "
            "May be repeated.",
        ),
    ] = None,
    encoder: OwnSpace = None,
    metric: SpaceMetric = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Show the most similar videos of the release that was promoted last. No service needs to run.

    A file does not have to be in the catalog; it is decoded and encoded in this process. With --encoder, videos are
    compared by the mean of one encoder's vectors, as extracted, and no release is needed.
    """
    from rayreel.cli.steps.similar import find_similar, query_options
    from rayreel.cli.steps.space import find_in_space

    compared, settings = metric_of(encoder, metric), load_settings(config, sets or [], storage)
    if encoder is None:
        emit(find_similar(settings, query, {"top_k": k, **query_options(options or [])}))
    elif options:
        raise SettingsError("--option is for queries of a release. Leave out --option or --encoder.")
    else:
        emit(find_in_space(settings, query, k, encoder, compared))

"""`rayreel export`: every video's nearest videos as a file, without a service."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, OwnSpace, Sets, SpaceMetric, StorageRoot, metric_of
from rayreel.cli.output import emit, note
from rayreel.settings import load_settings


def main(
    top: Annotated[int, typer.Option(min=1, help="Nearest videos of each video.")] = 10,
    to: Annotated[Path, typer.Option(help="File to write, .parquet or .csv.")] = Path("neighbours.parquet"),
    encoder: OwnSpace = None,
    metric: SpaceMetric = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Write the nearest videos of every video of the release that was promoted last. No service needs to run.

    Columns: video_id, rank, neighbour_id and score, the cosine of the two embeddings. With --encoder, videos are
    compared by the mean of one encoder's vectors, as extracted, and no release is needed; with the metrics l1 and l2
    the last column is distance.
    """
    from rayreel.cli.steps.export import export_neighbours, export_space

    compared, settings = metric_of(encoder, metric), load_settings(config, sets or [], storage)
    if encoder is None:
        result = export_neighbours(settings, top, to)
    else:
        result = export_space(settings, top, to, encoder, compared)
    note(f"Wrote {result['rows']} rows to {to}")
    emit(result)

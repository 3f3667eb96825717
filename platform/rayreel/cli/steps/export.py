"""Writing every video's neighbours to a file, from the promoted release or the feature store on disk."""

from pathlib import Path
from typing import Any

import pyarrow as pa
from pyarrow import csv

from rayreel.cli.output import step
from rayreel.cli.steps.space import neighbours_in_space
from rayreel.durable import replacing
from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.features.metric import Metric
from rayreel.parts import parquet_bytes
from rayreel.recommendation.export import neighbours_table
from rayreel.recommendation.local import load_promoted
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking

SUFFIXES = (".parquet", ".csv")


class UnknownFormat(RayreelError):
    """A file's suffix does not name a format that can be written."""


def export_neighbours(settings: Settings, top: int, to: Path) -> dict[str, Any]:
    """Write the neighbours of every video of the promoted release; return the result for --json."""
    _check_format(to)
    use_tracking(settings.place)
    live = load_promoted(settings.place, settings.release.snapshot_cache)
    step(f"Writing the {top} nearest videos of each of {len(live)} videos of release {live.version}")
    table = neighbours_table(live, top)
    _write(table, to)
    return {"release": live.version, "videos": len(live), "rows": table.num_rows, "file": to}


def export_space(settings: Settings, top: int, to: Path, modality: Modality, metric: Metric) -> dict[str, Any]:
    """Write the neighbours of every video in the space of one encoder; return the result for --json."""
    _check_format(to)
    table, videos = neighbours_in_space(settings, top, modality, metric)
    _write(table, to)
    return {"encoder": modality, "metric": metric, "videos": videos, "rows": table.num_rows, "file": to}


def _check_format(to: Path) -> None:
    if to.suffix.lower() not in SUFFIXES:
        raise UnknownFormat(f"{to}: cannot write this format. End the file's name with {' or '.join(SUFFIXES)}.")


def _write(table: pa.Table, to: Path) -> None:
    with replacing(to, table.nbytes) as file:
        if to.suffix.lower() == ".csv":
            csv.write_csv(table, file)
        else:
            file.write(parquet_bytes(table))

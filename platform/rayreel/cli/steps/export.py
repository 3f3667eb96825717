"""Writing every video's neighbours to a file, from the promoted release on disk."""

from pathlib import Path
from typing import Any

from pyarrow import csv

from rayreel.cli.output import step
from rayreel.durable import replacing
from rayreel.errors import RayreelError
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
    if to.suffix.lower() not in SUFFIXES:
        raise UnknownFormat(f"{to}: cannot write this format. End the file's name with {' or '.join(SUFFIXES)}.")
    use_tracking(settings.place)
    live = load_promoted(settings.place, settings.release.snapshot_cache)
    step(f"Writing the {top} nearest videos of each of {len(live)} videos of release {live.version}")
    table = neighbours_table(live, top)
    with replacing(to, table.nbytes) as file:
        if to.suffix.lower() == ".csv":
            csv.write_csv(table, file)
        else:
            file.write(parquet_bytes(table))
    return {"release": live.version, "videos": len(live), "rows": table.num_rows, "file": to}

"""Write a catalog that all jobs can read."""

import csv
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from rayreel.catalog.tags import write_tags
from rayreel.catalog.video import CatalogVideo

COLUMNS = [name for name in CatalogVideo.model_fields if name != "extra"]


def write_catalog(videos: Sequence[CatalogVideo], folder: Path) -> Path:
    """Write `folder`/catalog.csv and return its path. Reading it returns the same videos.

    A URI inside `folder` is written relative to it, so that the folder can be moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    extra = list(dict.fromkeys(name for video in videos for name in video.extra))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)  # keeps the line terminator \r\n: with any other, csv does not quote a \r in a cell
        out.writerow([*COLUMNS, *extra])
        for video in videos:
            out.writerow([*_cells(video, folder), *(video.extra.get(name) for name in extra)])
    return path


def _cells(video: CatalogVideo, folder: Path) -> list[Any]:
    uri, root = Path(video.uri), folder.resolve()
    written = str(uri.relative_to(root)) if uri.is_relative_to(root) else video.uri
    created = video.created_at.isoformat() if video.created_at else ""
    formatted = {"uri": written, "tags": write_tags(video.tags), "created_at": created}
    return [formatted.get(name, getattr(video, name)) for name in COLUMNS]

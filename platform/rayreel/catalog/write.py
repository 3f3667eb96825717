"""Write a catalog that every job reads."""

import csv
from collections.abc import Sequence
from pathlib import Path

from rayreel.catalog.tags import write_tags
from rayreel.catalog.video import CatalogVideo

COLUMNS = ("video_id", "uri", "title", "description", "category", "tags", "created_at")


def write_catalog(videos: Sequence[CatalogVideo], folder: Path) -> Path:
    """Write `folder`/catalog.csv and return its path; reading it gives the same videos.

    A uri below `folder` is written relative to it, so that the folder can be moved.
    """
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    own = list(dict.fromkeys(name for video in videos for name in video.extra))
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file)  # with another line terminator than \r\n, Python leaves a \r in a cell unquoted
        out.writerow([*COLUMNS, *own])
        for video in videos:
            out.writerow([*_cells(video, folder), *(video.extra.get(name) for name in own)])
    return path


def _cells(video: CatalogVideo, folder: Path) -> list[str]:
    uri, root = Path(video.uri), folder.resolve()
    place = str(uri.relative_to(root)) if uri.is_relative_to(root) else video.uri
    made = video.created_at.isoformat() if video.created_at else ""
    return [video.video_id, place, video.title, video.description, video.category, write_tags(video.tags), made]

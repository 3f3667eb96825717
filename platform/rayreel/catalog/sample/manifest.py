"""Write the sample set's catalog."""

import csv
from pathlib import Path

from rayreel.catalog.sample.clip import SampleClip


def write_manifest(clips: list[SampleClip], folder: Path) -> Path:
    """Write `folder`/catalog.csv with URIs relative to `folder` and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["video_id", "uri", "title", "description", "category", "tags", "created_at"])
        for c in clips:
            row = [c.video_id, c.file, c.title, c.description, c.category, "|".join(c.tags), c.created_at.isoformat()]
            out.writerow(row)
    return path

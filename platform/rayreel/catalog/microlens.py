"""The MicroLens data set: short videos with titles, and timestamps of users' comments on them.

Source: Ni et al. 2023, A Content-Driven Micro-Video Recommendation Dataset at Scale.
"""

from collections.abc import Collection, Iterable
from dataclasses import dataclass
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.csv_rows import read_records
from rayreel.catalog.download import RemoteFile
from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.source import open_source
from rayreel.catalog.video import CatalogVideo

SITE = "https://recsys.westlake.edu.cn"
PAGE = "https://github.com/westlake-repl/MicroLens"
TABLES = {
    "50k": ("MicroLens-50k_pairs.csv", "MicroLens-50k_titles.csv"),
    "100k": ("MicroLens-100k_pairs.csv", "MicroLens-100k_title_en.csv", "tags_to_summary.csv"),
}
# The 50k titles have a header line, the 100k titles do not.
ITEM_HEADERS = {"item", "item_id", "video", "video_id", "videoid", "id"}


@dataclass(frozen=True, slots=True)
class MicroLensFiles:
    """Paths of the parts of a set. Covers, audio and comments are not used."""

    pairs: Path
    titles: Path
    videos: Path
    categories: Path | None = None


@dataclass(frozen=True, slots=True)
class MicroLens:
    """The selected videos, their interactions sorted by time, and how many items were left out for which reason."""

    videos: list[CatalogVideo]
    interactions: pa.Table
    without_file: int
    beyond_limit: int


def remote_tables(size: str, site: str = SITE) -> list[RemoteFile]:
    """Return the tables of the set of 50k or 100k users. The authors publish no checksums. Raises CatalogError."""
    if size not in TABLES:
        raise CatalogError(f"MicroLens-{size} cannot be downloaded. Choose one of {', '.join(TABLES)}.")
    return [RemoteFile(f"{site}/MicroLens-{size}-Dataset/{name}", page=PAGE) for name in TABLES[size]]


def remote_videos(size: str, items: Iterable[str], site: str = SITE) -> list[RemoteFile]:
    """Return the video files of these items."""
    folder = f"{site}/MicroLens-{size}-Dataset/MicroLens-{size}_videos"
    return [RemoteFile(f"{folder}/{item}.mp4", page=PAGE) for item in items]


def find_microlens(
    folder: Path, pairs: Path | None = None, titles: Path | None = None, videos: Path | None = None
) -> MicroLensFiles:
    """Find the parts that are not passed as arguments by their official names.

    Raises CatalogError if a part is missing or ambiguous.
    """
    categories = folder / "tags_to_summary.csv"
    return MicroLensFiles(
        pairs=pairs or _one(folder, "MicroLens-*_pairs.csv"),
        titles=titles or _one(folder, "MicroLens-*_titles.csv", "MicroLens-*_title_en.csv"),
        videos=videos or _one(folder, "MicroLens-*_videos", "videos"),
        categories=categories if categories.is_file() else None,
    )


def read_microlens(files: MicroLensFiles, max_videos: int | None = None) -> MicroLens:
    """Read the videos that have a file `<item>.mp4`, most watched first, and their interactions.

    Items without a file are left out and counted, not quarantined: most people download only some of the videos.
    `max_videos` keeps those with the most interactions over all time. This keeps the co-watch graph dense, but makes a
    small subset consist of popular videos and easier than the whole set. Raises CatalogError.
    """
    titles, interactions = read_texts(files.titles), read_pairs(files.pairs)
    categories = read_texts(files.categories) if files.categories else {}
    paths = _video_files(files.videos)
    items = most_watched({*titles, *pc.unique(interactions["video_id"]).to_pylist()}, interactions)
    with_file = [item for item in items if item in paths]
    if not with_file:
        raise CatalogError(
            f"{files.videos} has no video of {files.titles}: expected names such as {items[0] if items else 1}.mp4. "
            "Download the videos, or give the folder that contains them."
        )
    selected = with_file[:max_videos]
    videos = [
        CatalogVideo(video_id=item, uri=str(paths[item]), title=titles.get(item, ""), category=categories.get(item, ""))
        for item in selected
    ]
    kept = interactions.filter(pc.is_in(interactions["video_id"], pa.array(selected, pa.string())))
    return MicroLens(videos, kept, len(items) - len(with_file), len(with_file) - len(selected))


def read_pairs(path: Path) -> pa.Table:
    """Read `MicroLens-*_pairs.csv` (user,item,timestamp) as interactions sorted by time. Raises CatalogError."""
    if path.suffix == ".tsv":
        raise CatalogError(f"{path} has no timestamps. Use _pairs.csv in the same folder (user,item,timestamp).")
    table = read_interactions(path, {"user": "user_id", "item": "video_id"})
    return table.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("video_id", "ascending")])


def read_texts(path: Path) -> dict[str, str]:
    """Read a CSV file of items and their texts, with or without a header. Raises CatalogError."""
    texts: dict[str, str] = {}
    with open_source(str(path), "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        for line, cells, error in read_records(file, ","):
            if error or len(cells) < 2 or not cells[0].strip():
                reason = error or f"expected an item and its text, found {','.join(cells)[:40]!r}"
                raise CatalogError(f"{path} line {line}: {reason}. Correct or remove the line.")
            # Some copies of the set do not quote texts that contain commas.
            texts.setdefault(cells[0].strip(), ",".join(cells[1:]).strip())
    if (first := next(iter(texts), "")).lower() in ITEM_HEADERS:
        del texts[first]
    return texts


def most_watched(items: Collection[str], interactions: pa.Table) -> list[str]:
    """Return items sorted by their number of interactions, most first; ties by item number."""
    counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(interactions["video_id"]).to_pylist()}
    return sorted(items, key=lambda item: (-counts.get(item, 0), len(item), item))


def _video_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise CatalogError(f"The folder {folder} does not exist. Give the folder that contains <item>.mp4.")
    return {path.stem: path for path in sorted(folder.resolve().iterdir()) if path.suffix.lower() in SUFFIXES}


def _one(folder: Path, *patterns: str) -> Path:
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if len(found) != 1:
        has = f"more than one ({', '.join(path.name for path in found)})" if found else "none"
        raise CatalogError(
            f"{folder} must contain one {' or '.join(patterns)}, but has {has}. Download the set (--download) or "
            "name its parts (--pairs, --titles, --videos)."
        )
    return found[0]

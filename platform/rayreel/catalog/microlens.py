"""MicroLens: short videos with titles, and who commented on which of them when.

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
# The 50k titles have a header, the 100k ones have none.
ITEM_HEADERS = {"item", "item_id", "video", "video_id", "videoid", "id"}


@dataclass(frozen=True, slots=True)
class MicroLensFiles:
    """Where the parts of a set lie. Covers, sound and comments are not used."""

    pairs: Path
    titles: Path
    videos: Path
    categories: Path | None = None


@dataclass(frozen=True, slots=True)
class MicroLens:
    """The chosen videos, the interactions with them by time, and how many items of the set were left out and why."""

    videos: list[CatalogVideo]
    interactions: pa.Table
    without_file: int
    beyond_limit: int


def remote_tables(size: str, site: str = SITE) -> list[RemoteFile]:
    """The tables of the set of 50k or 100k users. The authors publish no checksums. Raises CatalogError."""
    if size not in TABLES:
        raise CatalogError(f"There is no MicroLens-{size} to download. Choose one of {', '.join(TABLES)}.")
    return [RemoteFile(f"{site}/MicroLens-{size}-Dataset/{name}", page=PAGE) for name in TABLES[size]]


def remote_videos(size: str, items: Iterable[str], site: str = SITE) -> list[RemoteFile]:
    """The video files of these items."""
    folder = f"{site}/MicroLens-{size}-Dataset/MicroLens-{size}_videos"
    return [RemoteFile(f"{folder}/{item}.mp4", page=PAGE) for item in items]


def find_microlens(
    folder: Path, pairs: Path | None = None, titles: Path | None = None, videos: Path | None = None
) -> MicroLensFiles:
    """Find by their official names those parts that are not given.

    Raises CatalogError where one is missing or is there twice.
    """
    categories = folder / "tags_to_summary.csv"
    return MicroLensFiles(
        pairs=pairs or _one(folder, "MicroLens-*_pairs.csv"),
        titles=titles or _one(folder, "MicroLens-*_titles.csv", "MicroLens-*_title_en.csv"),
        videos=videos or _one(folder, "MicroLens-*_videos", "videos"),
        categories=categories if categories.is_file() else None,
    )


def read_microlens(files: MicroLensFiles, max_videos: int | None = None) -> MicroLens:
    """Read the videos that have a file `<item>.mp4`, most watched first, and the interactions with them.

    Items without a file are left out and counted: most users have a part of the videos, and a quarantine of the others
    would say nothing. With `max_videos` those with the most interactions stay, which keeps the graph of co-watched
    videos dense; over all time, so that a small part is of popular videos and easier than the whole. Raises
    CatalogError.
    """
    titles, interactions = read_texts(files.titles), read_pairs(files.pairs)
    categories = read_texts(files.categories) if files.categories else {}
    there = _video_files(files.videos)
    items = most_watched({*titles, *pc.unique(interactions["video_id"]).to_pylist()}, interactions)
    with_file = [item for item in items if item in there]
    if not with_file:
        raise CatalogError(
            f"{files.videos} has no video of {files.titles}: expected names such as {items[0] if items else 1}.mp4. "
            "Download the videos, or give the folder that holds them."
        )
    chosen = with_file[:max_videos]
    videos = [
        CatalogVideo(video_id=item, uri=str(there[item]), title=titles.get(item, ""), category=categories.get(item, ""))
        for item in chosen
    ]
    kept = interactions.filter(pc.is_in(interactions["video_id"], pa.array(chosen, pa.string())))
    return MicroLens(videos, kept, len(items) - len(with_file), len(with_file) - len(chosen))


def read_pairs(path: Path) -> pa.Table:
    """Read `MicroLens-*_pairs.csv` (user,item,timestamp) as interactions, by time. Raises CatalogError."""
    if path.suffix == ".tsv":
        raise CatalogError(f"{path} has no times. Give the _pairs.csv beside it, which has user,item,timestamp.")
    table = read_interactions(path, {"user": "user_id", "item": "video_id"})
    return table.sort_by([("timestamp", "ascending"), ("user_id", "ascending"), ("video_id", "ascending")])


def read_texts(path: Path) -> dict[str, str]:
    """Read a text for each item: rows of an item and its text, with or without a header. Raises CatalogError."""
    texts: dict[str, str] = {}
    with open_source(str(path), "rt", encoding="utf-8-sig", errors="replace", newline="") as file:
        for line, cells, fault in read_records(file, ","):
            if fault or len(cells) < 2 or not cells[0].strip():
                said = fault or f"it holds {','.join(cells)[:40]!r}, not an item and its text"
                raise CatalogError(f"{path} line {line}: {said}. Mend or drop the line.")
            # Some copies do not quote a text with commas.
            texts.setdefault(cells[0].strip(), ",".join(cells[1:]).strip())
    if (first := next(iter(texts), "")).lower() in ITEM_HEADERS:
        del texts[first]
    return texts


def most_watched(items: Collection[str], interactions: pa.Table) -> list[str]:
    """Items by their number of interactions, most first; of equals the lower number first."""
    counts = {pair["values"]: pair["counts"] for pair in pc.value_counts(interactions["video_id"]).to_pylist()}
    return sorted(items, key=lambda item: (-counts.get(item, 0), len(item), item))


def _video_files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise CatalogError(f"There is no folder {folder}. Give the one that holds <item>.mp4.")
    return {path.stem: path for path in sorted(folder.resolve().iterdir()) if path.suffix.lower() in SUFFIXES}


def _one(folder: Path, *patterns: str) -> Path:
    found = sorted({path for pattern in patterns for path in folder.glob(pattern)})
    if len(found) != 1:
        has = f"more than one ({', '.join(path.name for path in found)})" if found else "none"
        raise CatalogError(
            f"{folder} should have one {' or '.join(patterns)}, and it has {has}. Download the set (--download) or "
            "name its parts one by one (--pairs, --titles, --videos)."
        )
    return found[0]

"""Downloading the public data sets, with progress bars."""

from collections.abc import Callable, Iterable
from pathlib import Path

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from rayreel.catalog.download import Downloads, RemoteFile
from rayreel.catalog.microlens import most_watched, read_pairs, remote_tables, remote_videos
from rayreel.catalog.ucf101 import CLIPS, CLIPS_FOLDER, SPLITS, unpack_splits
from rayreel.cli.output import console, note, step


def fetch_microlens(folder: Path, size: str, site: str, max_videos: int | None) -> None:
    """Download the tables, then the videos of the most watched items."""
    tables = fetch_large(remote_tables(size, site), folder)
    interactions = read_pairs(tables[0])
    items = most_watched(set(interactions["video_id"].to_pylist()), interactions)[:max_videos]
    wanted = remote_videos(size, items, site)
    step(f"Downloading {len(wanted)} videos from {wanted[0].host}")
    columns = (TextColumn("videos"), BarColumn(), MofNCompleteColumn())
    with Downloads(folder / f"MicroLens-{size}_videos") as downloads, Progress(*columns, console=console) as bar:
        task = bar.add_task("videos", total=len(wanted))
        absent = downloads.fetch_all(wanted, done=lambda: bar.advance(task))
    if absent:
        note(f"  {len(absent)} videos are not on the site, such as {absent[0].url}")


def fetch_ucf101(folder: Path) -> None:
    """Download the split lists, and the archive of the clips unless the clips exist."""
    unpack_splits(fetch_large([SPLITS], folder)[0])
    if not (folder / CLIPS_FOLDER).is_dir():
        fetch_large([CLIPS], folder)


def fetch_large(files: Iterable[RemoteFile], folder: Path) -> list[Path]:
    """Download files one after the other, each with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Downloads(folder) as downloads, Progress(*columns, console=console) as bar:
        return [downloads.fetch(file, _updates(bar, bar.add_task(file.name, total=None))) for file in files]


def _updates(bar: Progress, task: TaskID) -> Callable[[int, int | None], None]:
    """Return the callback with which a download moves its bar."""
    return lambda there, total: bar.update(task, completed=there, total=total)

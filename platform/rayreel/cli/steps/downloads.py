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

from rayreel.catalog.download import DownloadFailed, Downloads, RemoteFile, WrongFile
from rayreel.catalog.microlens import most_watched, read_pairs, remote_tables, remote_videos
from rayreel.catalog.subset import Subset
from rayreel.catalog.ucf101 import CLIPS, CLIPS_FOLDER, SPLITS, SPLITS_FOLDER, ZIP, read_split, unpack_splits
from rayreel.catalog.ucf101_parts import fetch_clips
from rayreel.cli.output import console, note, step
from rayreel.remote.config import ReadLimits


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


def fetch_ucf101(folder: Path, subset: Subset, archive: str | None, limits: ReadLimits) -> None:
    """Download the split lists and the clips: chosen ones from a zip file, or else the archive of all of them."""
    _fetch_splits(folder)
    if archive or not subset.is_all:
        _fetch_clips(folder, subset, RemoteFile(archive) if archive else ZIP, limits)
    elif not (folder / CLIPS_FOLDER).is_dir():
        fetch_large([CLIPS], folder)


def _fetch_splits(folder: Path) -> None:
    """Download the official lists. Without them, the split is the same, by the rule that they follow."""
    if (folder / SPLITS_FOLDER).is_dir():
        return
    try:
        unpack_splits(fetch_large([SPLITS], folder)[0])
    except WrongFile:
        raise
    except DownloadFailed as error:
        note(f"The official split lists are missing, so the split is by group number, as in the lists. {error}")


def _fetch_clips(folder: Path, subset: Subset, source: RemoteFile, limits: ReadLimits) -> None:
    splits, clips = folder / SPLITS_FOLDER, folder / CLIPS_FOLDER
    listed = read_split(splits, 1) if splits.is_dir() else {}
    if listed and all((clips / f"{name}.avi").exists() for name in subset.choose(listed)):
        return
    step(f"Downloading clips from {source.url}, not the whole archive")
    with Progress(TextColumn("clips"), BarColumn(), MofNCompleteColumn(), console=console) as bar:
        task = bar.add_task("clips", total=None)
        fetch_clips(source, clips, subset, limits, listed=listed, progress=_updates(bar, task))


def fetch_large(files: Iterable[RemoteFile], folder: Path) -> list[Path]:
    """Download files one after the other, each with a progress bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Downloads(folder) as downloads, Progress(*columns, console=console) as bar:
        return [downloads.fetch(file, _updates(bar, bar.add_task(file.name, total=None))) for file in files]


def _updates(bar: Progress, task: TaskID) -> Callable[[int, int | None], None]:
    """Return the callback with which a download moves its bar."""
    return lambda there, total: bar.update(task, completed=there, total=total)

"""Bring a public data set into the form that every job reads: catalog.csv and interactions.csv."""

from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Annotated

import pyarrow.parquet as pq
import typer
from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    TaskID,
    TextColumn,
    TransferSpeedColumn,
)

from command import StorageRoot, console, facts, finish, following, run_app, step
from rayreel.catalog.download import Downloads, RemoteFile
from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.microlens import (
    SITE,
    find_microlens,
    most_watched,
    read_microlens,
    read_pairs,
    remote_tables,
    remote_videos,
)
from rayreel.catalog.recbole import items_table
from rayreel.catalog.sample.interactions import write_interactions
from rayreel.catalog.ucf101 import CLIPS, CLIPS_FOLDER, SPLITS, find_ucf101, read_ucf101, unpack_splits
from rayreel.catalog.write import write_catalog
from rayreel.settings import load_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="markdown", help=__doc__)
Out = Annotated[Path | None, typer.Option(help="Folder to write to. Default: datasets/NAME below --storage.")]
Data = Annotated[Path | None, typer.Option(help="Folder of the data set. Default: datasets/NAME below --storage.")]
Get = Annotated[bool, typer.Option("--download", help="First fetch what is missing; a broken download goes on.")]


@app.command()
def microlens(
    data: Data = None,
    out: Out = None,
    max_videos: Annotated[int | None, typer.Option(min=1, help="Only the most watched videos.")] = None,
    download: Get = False,
    size: Annotated[str, typer.Option(help="What to download: the set of 50k or of 100k users.")] = "50k",
    site: Annotated[str, typer.Option(help="Where to download from.")] = SITE,
    pairs: Annotated[Path | None, typer.Option(help="CSV of user,item,timestamp. Default: found in --data.")] = None,
    titles: Annotated[Path | None, typer.Option(help="CSV of item,title. Default: found in --data.")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of ITEM.mp4. Default: found in --data.")] = None,
    storage: StorageRoot = None,
) -> None:
    """MicroLens: short videos with titles, and who watched which when.

    Needs `MicroLens-*_pairs.csv`, `MicroLens-*_titles.csv` (or `_title_en.csv`) and the folder `MicroLens-*_videos` (or
    `videos`) of ITEM.mp4; with `tags_to_summary.csv` the videos have categories. Videos without a file are left out and
    counted. `--max-videos` keeps those with the most interactions; `--download` then fetches only their files.
    """
    folder = data or place(f"microlens-{size}", storage)
    if download:
        fetch_microlens(folder, size, site, max_videos)
    files = find_microlens(folder, pairs, titles, videos)
    step(f"Reading {files.pairs}, {files.titles.name} and {files.videos}")
    chosen = read_microlens(files, max_videos)
    rows = {"videos": len(chosen.videos), "interactions": chosen.interactions.num_rows}
    rows |= {"left out: no video file here": chosen.without_file, "left out: beyond --max-videos": chosen.beyond_limit}
    console.print(facts("MicroLens", rows))
    out = out or place(f"microlens-{size}", storage)
    catalog, views = write_catalog(chosen.videos, out), write_interactions(chosen.interactions, out)
    learning = next_job("train", storage, "--interactions", str(views))
    finish(f"{catalog} and {views}", f"{extraction(catalog, storage)}; then {learning}")


@app.command()
def ucf101(
    data: Data = None,
    out: Out = None,
    fold: Annotated[int, typer.Option(min=1, max=3, help="Which of the three official splits.")] = 1,
    classes: Annotated[str, typer.Option(help="Only these classes, by comma: Archery,Bowling.")] = "",
    download: Get = False,
    storage: StorageRoot = None,
) -> None:
    """UCF101: clips of 101 human actions, with the official split in the column `split`.

    Needs `UCF-101/Class/v_Class_gNN_cMM.avi` and, for the split, `ucfTrainTestlist/trainlist01.txt`, `testlist01.txt`
    and `classInd.txt`. The group `v_Class_gNN` becomes the `source`, so that its clips stay on one side of every split.
    The clips come as a .rar, which you unpack yourself: `unrar x`, `7z x` or `bsdtar -xf`.
    """
    folder = data or place("ucf101", storage)
    if download:
        fetch_ucf101(folder)
    clips, splits = find_ucf101(folder)
    step(
        f"Reading UCF101 from {clips}" + ("" if splits else f"; no split, since there is no {folder}/ucfTrainTestlist")
    )
    read = read_ucf101(clips, splits, fold, [name.strip() for name in classes.split(",") if name.strip()])
    sides = [str(video.extra.get("split", "without a split")) for video in read.videos]
    rows = {"clips": len(sides), "classes": len({video.category for video in read.videos})}
    rows |= {f"clips: {side}": sides.count(side) for side in dict.fromkeys(sides)}
    console.print(facts("UCF101", rows | {f"left out: {why}": count for why, count in read.left_out.items()}))
    catalog = write_catalog(read.videos, out or place("ucf101", storage))
    finish(str(catalog), extraction(catalog, storage))


@app.command()
def movielens(
    inter: Annotated[Path, typer.Option(help="RecBole's .inter: user_id, item_id, rating, timestamp.")],
    item: Annotated[Path, typer.Option(help="RecBole's .item: item_id, title, genres.")],
    out: Out = None,
    storage: StorageRoot = None,
) -> None:
    """MovieLens, or any set in RecBole's format: interactions and items, no videos.

    Writes `interactions.csv` and, for experiments on text alone, `items.parquet` (video_id, title, tags, category,
    created_at). Where you have videos to the items, give them a catalog with the same ids: the other jobs take an
    `.inter` file for `--interactions` as it is.
    """
    folder = out or place("movielens", storage)
    items, interactions = items_table(item), read_interactions(inter)
    with_items = set(items["video_id"].to_pylist())
    strangers = sum(name not in with_items for name in interactions["video_id"].unique().to_pylist())
    rows = {"items": items.num_rows, "interactions": interactions.num_rows}
    rows |= {"users": len(interactions["user_id"].unique()), "watched, but no such item": strangers}
    console.print(facts("RecBole", rows))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, folder / "items.parquet")
    written = write_interactions(interactions, folder)
    finish(f"{folder / 'items.parquet'} and {written}", "a catalog with these ids, or experiments on the titles")


def fetch_microlens(folder: Path, size: str, site: str, max_videos: int | None) -> None:
    """Download tables, then the videos of the most watched items."""
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
        console.print(f"  {len(absent)} videos are not on the site, such as {absent[0].url}", highlight=False)


def fetch_ucf101(folder: Path) -> None:
    """Download the lists, and the clips' archive unless the clips are there."""
    unpack_splits(fetch_large([SPLITS], folder)[0])
    if not (folder / CLIPS_FOLDER).is_dir():
        fetch_large([CLIPS], folder)


def fetch_large(files: Iterable[RemoteFile], folder: Path) -> list[Path]:
    """Download one after another, each with its bar."""
    columns = (TextColumn("{task.description}"), BarColumn(), DownloadColumn(), TransferSpeedColumn())
    with Downloads(folder) as downloads, Progress(*columns, console=console) as bar:
        return [downloads.fetch(file, shown(bar, bar.add_task(file.name, total=None))) for file in files]


def shown(bar: Progress, task: TaskID) -> Callable[[int, int | None], None]:
    """What a download calls to move its bar."""
    return lambda there, total: bar.update(task, completed=there, total=total)


def place(name: str, storage: str | None) -> Path:
    """Where a data set lies unless told otherwise."""
    settings = load_settings(storage=storage)
    return settings.place.local("datasets", name, what="jobs/dataset.py without --data and --out")


def extraction(catalog: Path, storage: str | None) -> str:
    """What to do with a catalog."""
    return next_job("extract", storage, "--catalog", str(catalog))


def next_job(job: str, storage: str | None, *words: str) -> str:
    """The command of another job on the same storage."""
    return following(job, load_settings(storage=storage), None, [], *words)


if __name__ == "__main__":
    run_app(app)

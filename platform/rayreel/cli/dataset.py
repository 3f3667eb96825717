"""`rayreel dataset`: convert public data sets into catalog.csv and interactions.csv."""

from pathlib import Path
from typing import Annotated, Any

import typer

from rayreel.cli.options import AsJson, StorageRoot
from rayreel.cli.output import console, facts, finish, next_command, step
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="Convert a public data set into what every command reads: catalog.csv and interactions.csv.",
)
OutFolder = Annotated[
    Path | None, typer.Option(help="Folder to write to.", show_default="datasets/NAME below --storage")
]
DataFolder = Annotated[
    Path | None, typer.Option(help="Folder of the data set.", show_default="datasets/NAME below --storage")
]
Download = Annotated[
    bool, typer.Option("--download", help="Download missing files first; interrupted downloads are continued.")
]


@app.command()
def microlens(
    data: DataFolder = None,
    out: OutFolder = None,
    max_videos: Annotated[int | None, typer.Option(min=1, help="Only the most watched videos.")] = None,
    download: Download = False,
    size: Annotated[str, typer.Option(help="What to download: the set of 50k or of 100k users.")] = "50k",
    site: Annotated[str | None, typer.Option(help="Where to download from.", show_default="the authors' site")] = None,
    pairs: Annotated[
        Path | None, typer.Option(help="CSV of user,item,timestamp.", show_default="found in --data")
    ] = None,
    titles: Annotated[Path | None, typer.Option(help="CSV of item,title.", show_default="found in --data")] = None,
    videos: Annotated[Path | None, typer.Option(help="Folder of ITEM.mp4.", show_default="found in --data")] = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """MicroLens: short videos with titles, and who watched which when.

    Needs `MicroLens-*_pairs.csv`, `MicroLens-*_titles.csv` (or `_title_en.csv`) and the folder `MicroLens-*_videos` (or
    `videos`) of ITEM.mp4; with `tags_to_summary.csv`, videos have categories. Videos without a file are left out, and
    their number is shown. `--max-videos` keeps those with the most interactions; `--download` then fetches only their
    files.
    """
    from rayreel.catalog.microlens import SITE, find_microlens, read_microlens
    from rayreel.catalog.sample.interactions import write_interactions
    from rayreel.catalog.write import write_catalog
    from rayreel.cli.steps.downloads import fetch_microlens

    folder = data or default_folder(f"microlens-{size}", storage)
    if download:
        fetch_microlens(folder, size, site or SITE, max_videos)
    files = find_microlens(folder, pairs, titles, videos)
    step(f"Reading {files.pairs}, {files.titles.name} and {files.videos}")
    chosen = read_microlens(files, max_videos)
    rows = {"videos": len(chosen.videos), "interactions": chosen.interactions.num_rows}
    rows |= {"left out: no video file": chosen.without_file, "left out: beyond --max-videos": chosen.beyond_limit}
    console.print(facts("MicroLens", rows))
    out = out or default_folder(f"microlens-{size}", storage)
    catalog, views = write_catalog(chosen.videos, out), write_interactions(chosen.interactions, out)
    training = _next("train", storage, "--interactions", str(views))
    then = f"{_next('extract', storage, '--catalog', str(catalog))}; then {training}"
    finish({"catalog": catalog, "interactions": views, "counts": rows}, f"{catalog} and {views}", then)


@app.command()
def ucf101(
    data: DataFolder = None,
    out: OutFolder = None,
    fold: Annotated[int, typer.Option(min=1, max=3, help="Which of the three official splits.")] = 1,
    classes: Annotated[str, typer.Option(help="Only these classes, separated by commas: Archery,Bowling.")] = "",
    max_classes: Annotated[int | None, typer.Option(min=1, help="Only the first classes by name.")] = None,
    max_clips: Annotated[int | None, typer.Option(min=1, help="Only this many clips of each class.")] = None,
    download: Download = False,
    archive: Annotated[
        str | None,
        typer.Option(help="Zip file of the clips to take them from: a URL or a path.", show_default="a public copy"),
    ] = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """UCF101: clips of 101 human actions, with the official split in the column `split`.

    With `--download`, `--classes`, `--max-classes` and `--max-clips`, only the chosen clips are downloaded, from a zip
    file on a server that supports range requests: 10 classes of 50 clips are 0.3 GB of 7. Clips are taken evenly from
    all groups, and the same options choose the same clips. Without these options, the .rar file of all clips is
    downloaded; unpack it with `unrar x`, `7z x` or `bsdtar -xf`.

    Reads `UCF-101/Class/v_Class_gNN_cMM.avi` and, if it exists, `ucfTrainTestlist` with `trainlist01.txt`,
    `testlist01.txt` and `classInd.txt`. Without the lists, the groups are split by number, as in the lists. The group
    `v_Class_gNN` becomes the `source`, so that its clips stay on one side of every split.
    """
    from rayreel.catalog.subset import Subset
    from rayreel.catalog.ucf101 import find_ucf101, read_ucf101
    from rayreel.catalog.write import write_catalog
    from rayreel.cli.steps.downloads import fetch_ucf101

    folder = data or default_folder("ucf101", storage)
    subset = Subset(tuple(name.strip() for name in classes.split(",") if name.strip()), max_classes, max_clips)
    if download:
        fetch_ucf101(folder, subset, archive, load_settings(storage=storage).limits)
    clips, splits = find_ucf101(folder)
    missing = "" if splits else f"; split by group number, because there is no {folder}/ucfTrainTestlist"
    step(f"Reading UCF101 from {clips}{missing}")
    read = read_ucf101(clips, splits, fold, subset)
    sides = [str(video.extra["split"]) for video in read.videos]
    rows: dict[str, Any] = {"clips": len(sides), "classes": len({video.category for video in read.videos})}
    rows |= {f"clips: {side}": sides.count(side) for side in dict.fromkeys(sides)}
    rows |= {f"left out: {reason}": count for reason, count in read.left_out.items()}
    console.print(facts("UCF101", rows))
    catalog = write_catalog(read.videos, out or default_folder("ucf101", storage))
    then = f"{_next('train-action', storage, '--catalog', str(catalog), '--name', 'actions')}, or "
    then += _next("extract", storage, "--catalog", str(catalog))
    finish({"catalog": catalog, "counts": rows}, str(catalog), then)


@app.command()
def movielens(
    inter: Annotated[Path, typer.Option(help="RecBole's .inter: user_id, item_id, rating, timestamp.")],
    item: Annotated[Path, typer.Option(help="RecBole's .item: item_id, title, genres.")],
    out: OutFolder = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """MovieLens, or any data set in RecBole's format: interactions and items, no videos.

    Writes `interactions.csv` and, for experiments on text alone, `items.parquet` (video_id, title, tags, category,
    created_at). If you have the items' videos, write a catalog with the same ids; other commands accept the `.inter`
    file as `--interactions`.
    """
    import pyarrow.parquet as pq

    from rayreel.catalog.interactions import read_interactions
    from rayreel.catalog.recbole import items_table
    from rayreel.catalog.sample.interactions import write_interactions

    folder = out or default_folder("movielens", storage)
    items, interactions = items_table(item), read_interactions(inter)
    rows = _movielens_counts(items["video_id"].to_pylist(), interactions["video_id"].unique().to_pylist())
    rows |= {"interactions": interactions.num_rows, "users": len(interactions["user_id"].unique())}
    console.print(facts("RecBole", rows))
    folder.mkdir(parents=True, exist_ok=True)
    pq.write_table(items, folder / "items.parquet")
    views = write_interactions(interactions, folder)
    result = {"items": folder / "items.parquet", "interactions": views, "counts": rows}
    finish(result, f"{folder / 'items.parquet'} and {views}", "a catalog with these ids, or experiments on the titles")


def _movielens_counts(items: list[str], watched: list[str]) -> dict[str, int]:
    known = set(items)
    return {"items": len(items), "watched, but not in the items": sum(name not in known for name in watched)}


def default_folder(name: str, storage: str | None) -> Path:
    """Return the default folder of a data set."""
    settings = load_settings(storage=storage)
    return settings.place.local("datasets", name, what="`rayreel dataset` without --data and --out")


def _next(command: str, storage: str | None, *words: str) -> str:
    return next_command(command, load_settings(storage=storage), None, [], *words)

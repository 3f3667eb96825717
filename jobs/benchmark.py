"""Compare ways of doing the same work, in one run, and print ratios."""

import os
from pathlib import Path
from typing import Annotated

import numpy as np
import typer
from rich.table import Table

from benchmarks.extraction import (
    MODES,
    compare_decoding,
    dense,
    one_by_one,
    repeated,
    samplers,
    through_pipeline,
)
from benchmarks.memory import measure_growth
from benchmarks.samplers import full_decode, opencv_seeks
from command import ConfigFile, Sets, StorageRoot, console, run_app, step, use_ray
from extract import efficiency_line
from rayreel.catalog.read import read_catalog
from rayreel.encoders.load import load_encoders
from rayreel.features.ideal import measure_ideal
from rayreel.settings import Settings, load_settings

app = typer.Typer(add_completion=False, no_args_is_help=True, rich_markup_mode="rich", help=__doc__)
DEFAULT_IDS = "16,200,1000,5000"
CatalogOption = Annotated[str, typer.Option(help="Folder of videos or manifest.")]


@app.command()
def extract(
    catalog: CatalogOption,
    repeat: Annotated[int, typer.Option(help="Every file this many times, as distinct ids.")] = 5,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Decode and extract the same files the common way, by full decoding, and with rayreel in each mode."""
    settings = load_settings(config, sets or [], storage)
    videos = read_catalog(catalog).videos
    step(f"Decoding {len(videos)} videos in {len(samplers())} ways")
    console.print(decoding_table([Path(video.uri) for video in videos], settings))
    slow = settings.encoders.model_copy(update={"runtime": "torch", "precision": "fp32"})
    step("One video at a time, encoders in torch fp32")
    encoders = load_encoders(slow, settings.weights_cache)
    rates = {
        "OpenCV, a seek per frame": one_by_one(videos, opencv_seeks, encoders, settings),
        "PyAV, every frame": one_by_one(videos, full_decode, encoders, settings),
    }
    use_ray()
    for mode in MODES:
        step(f"rayreel {mode}, every file {repeat} times")
        report, key = through_pipeline(repeated(videos, repeat), mode, settings)
        rates[f"rayreel {mode}"] = report.throughput.videos_per_s
        ideal = measure_ideal(videos, key, settings.pipeline, os.cpu_count() or 1, sample=len(videos))
        if ideal is not None:
            console.print(efficiency_line(report, ideal), highlight=False)
    console.print(rates_table(rates))


@app.command()
def growth(
    catalog: CatalogOption,
    ids: Annotated[str, typer.Option(help="Numbers of ids, by comma; the first pays for starting up.")] = DEFAULT_IDS,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Extract more and more ids over the same files: rate and peak memory should stay flat, nothing spill.

    The rate of a row is that of its additional ids: (ids - ids of the row before) / (seconds - seconds of that row).
    """
    settings = load_settings(config, sets or [], storage)
    table = Table("ids", "seconds", "videos/s", "driver MB", "largest worker MB", "object store MB", "spilled MB")
    before: tuple[int, float] | None = None
    for count in (int(number) for number in ids.split(",")):
        step(f"{count} ids")
        grown = measure_growth(catalog, count, settings)
        rate = f"{(count - before[0]) / (grown.seconds - before[1]):.1f}" if before else "start-up"
        table.add_row(str(count), f"{grown.seconds:.1f}", rate, *(f"{value:.0f}" for value in grown.megabytes))
        before = count, grown.seconds
    console.print(table)


def decoding_table(paths: list[Path], settings: Settings) -> Table:
    """Cost of decoding and likeness to exact sampling, over all clips and over those with dense keyframes."""
    results = compare_decoding(paths, load_encoders(settings.encoders, settings.weights_cache))
    often = dense(paths)
    groups = {f"all {len(paths)}": np.ones(len(paths), bool), f"{often.sum()} with a keyframe every 2 s": often}
    heads = [f"{what}, {group}" for group in groups for what in ("core-ms/video", "cheaper", "cosine to exact")]
    table = Table("decoding", *heads, title="Decoding 8 frames", title_justify="left")
    first, exact = next(iter(results.values())), results["rayreel exact"]
    for name, result in results.items():
        cells = []
        for rows in groups.values():
            cost = result.core_ms[rows].mean()
            cells += [
                f"{cost:.1f}",
                f"{first.core_ms[rows].mean() / cost:.1f} x",
                f"{result.cosine_to(exact, rows):.3f}",
            ]
        table.add_row(name, *cells)
    return table


def rates_table(rates: dict[str, float]) -> Table:
    """End to end, beside the first."""
    table = Table("extraction", "videos/s", "ratio", title="Decode and encode, end to end", title_justify="left")
    first = next(iter(rates.values()))
    for name, rate in rates.items():
        table.add_row(name, *((f"{rate:.1f}", f"{rate / first:.1f} x") if rate else ("too short a run", "")))
    return table


if __name__ == "__main__":
    run_app(app)

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
from benchmarks.movielens import measure_items
from benchmarks.planted import measure_planted, verdict
from benchmarks.samplers import full_decode, opencv_seeks
from benchmarks.scaling.clips import catalog_or_clips
from benchmarks.scaling.cluster import one_node
from benchmarks.scaling.local import CHECKED, MEASURED, REPEAT, compare_nodes, measure_here
from benchmarks.scaling.sweep import Load, sweep
from benchmarks.scaling.tables import compared_table, costs_table, sweep_table
from benchmarks.search import Finding, measure_search
from benchmarks.serving.compare import Effort, compare
from benchmarks.serving.tables import calm_table, climbs_table, rungs_table, uploads_table, verdicts
from benchmarks.serving.uploads import measure_uploads
from benchmarks.standings import PARTS
from benchmarks.training import Line, encode_again, measure_memory, measure_speed
from benchmarks.variants import Given
from benchmarks.world import WorldConfig
from rayreel.catalog.read import read_catalog
from rayreel.cli.main import run
from rayreel.cli.options import ConfigFile, Sets, StorageRoot
from rayreel.cli.output import console, step
from rayreel.cli.steps.evaluate import terminal_table
from rayreel.cli.steps.extract import efficiency_line, store_of
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.load import load_encoders
from rayreel.evaluation import report
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


@app.command()
def train(
    catalog: Annotated[
        str | None, typer.Option(help="Folder of videos or manifest, for the cost of encoding. [default: a few made]")
    ] = None,
    rows: Annotated[int, typer.Option(help="Videos to train on, as wide as the laptop preset makes them.")] = 50_000,
    batch: Annotated[int, typer.Option(help="Videos per step.")] = 1024,
    epochs: Annotated[int, typer.Option(min=3, help="Epochs; the first is not counted.")] = 4,
    memory_rows: Annotated[str, typer.Option(help="Numbers of small rows to map, by comma.")] = "50000,1000000",
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Compare training with a bare torch loop, two workers and encoding in every epoch; show memory by rows."""
    settings = load_settings(config, sets or [], storage)
    os.environ.pop("OMP_NUM_THREADS", None)  # Ray gives a process as many threads as it has CPUs
    step("Encoding one video after the other")
    encoding = encode_again(catalog, settings)
    use_ray()
    step(f"Training on {rows} videos")
    lines = measure_speed(settings.train.model_copy(update={"batch_size": batch, "epochs": epochs}), rows, encoding)
    counts = [int(number) for number in memory_rows.split(",") if number]
    step(f"Training on {memory_rows or 'no'} small videos, mapped")
    console.print(ratios_table([*lines, *measure_memory(settings.train, counts, batch)]))


@app.command()
def movielens(
    interactions: Annotated[str, typer.Option(help="Who rated what: RecBole's .inter, such as ml-100k.inter.")],
    items: Annotated[str, typer.Option(help="Titles and genres: RecBole's .item, such as ml-100k.item.")],
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Find users' next movie by titles and genres alone, beside popularity, item-kNN and matrix factorisation.

    Towers are trained as jobs/train.py does, with settings that validation chose; --set changes them.
    """
    result = measure_items(interactions, items, Given(config, sets or [], storage))
    for section in result.sections.values():
        console.print(terminal_table(report.table_of(section), console.width))
        console.print(report.verdict(result, section), markup=False, highlight=False)


@app.command()
def planted(
    videos: Annotated[int, typer.Option(help="Videos to make up.")] = 3000,
    users: Annotated[int, typer.Option(help="Users to make up.")] = 2000,
    seed: Annotated[int, typer.Option(help="Another seed, another world.")] = 0,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Learn from who watched what which small part of the features matters; with oracles that know it."""
    found = measure_planted(WorldConfig(videos=videos, users=users, seed=seed), Given(config, sets or []))
    console.print(found.table())
    for part in PARTS:
        console.print(verdict(found, part), markup=False, highlight=False)


@app.command()
def serve(
    videos: Annotated[int, typer.Option(help="Made-up videos of the release.")] = 20_000,
    seconds: Annotated[float, typer.Option(help="How long each rate is tried.")] = 8.0,
    start: Annotated[float, typer.Option(help="Requests a second to start with.")] = 200.0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Recommend by id under open-loop load, beside a bare FastAPI server with NumPy and beside Milvus itself.

    Ids are drawn uniformly and by Zipf's law. Each server climbs to the highest rate that it holds at p99 <= 100 ms.
    """
    settings = load_settings(config, sets or [], storage)
    step(f"A release of {videos} made-up videos, served; then the bare server")
    found = compare(settings, videos, Given(config, sets or []), Effort(seconds=seconds, start=start))
    for table in (*(rungs_table(climb) for climb in found.climbs), climbs_table(found), calm_table(found)):
        console.print(table)
    for line in verdicts(found):
        console.print(line, markup=False, highlight=False)


@app.command()
def encode(
    videos: Annotated[int, typer.Option(help="Made-up videos of the release that is searched.")] = 1000,
    seconds: Annotated[float, typer.Option(help="How long each rate is tried.")] = 10.0,
    start: Annotated[float, typer.Option(help="Uploads a second to start with.")] = 4.0,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Upload videos as queries under open-loop load, with and without batching across requests."""
    settings = load_settings(config, sets or [], storage)
    step("Uploads to a service of its own, with batching and without")
    console.print(uploads_table(measure_uploads(settings, videos, Given(config, sets or []), seconds, start)))


def ratios_table(lines: list[Line]) -> Table:
    """Each measurement, its ratio to another, and what the ratio should be."""
    title = "Training: start-up and first epoch left out"
    table = Table("what", "measured", "ratio", "to", "target", title=title, title_justify="left")
    for line in lines:
        table.add_row(
            line.what, line.measured, "" if line.ratio is None else f"{line.ratio:,.2f} x", line.to, line.target
        )
    return table


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


@app.command()
def search(
    rows: Annotated[str, typer.Option(help="Numbers of videos, by comma, such as 1000,20000,200000.")] = "1000,20000",
    queries: Annotated[int, typer.Option(help="Searches of each kind.")] = 100,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Search the index dense, filtered and hybrid, one request after the other, beside exact search in memory."""
    settings = load_settings(config, sets or [])
    use_ray()
    found: list[Finding] = []
    for count in map(int, rows.split(",")):
        step(f"{count} videos")
        findings, fill_s, ready_s = measure_search(count, queries, settings.index)
        console.print(f"filled in {fill_s:.1f} s, searchable {ready_s:.1f} s later", highlight=False)
        found += findings
    console.print(findings_table(found))


def findings_table(found: list[Finding]) -> Table:
    """Recall and latency by size and kind, with the cost over NumPy."""
    table = Table(
        "videos", "search", "recall@10", "p50 ms", "p95 ms", "NumPy exact, p50 ms", "ratio", title_justify="left"
    )
    for one in found:
        beside = ["", ""] if one.numpy_ms is None else [f"{one.numpy_ms:.2f}", f"{one.p50_ms / one.numpy_ms:.1f} x"]
        table.add_row(f"{one.rows:,}", one.what, f"{one.recall:.3f}", f"{one.p50_ms:.1f}", f"{one.p95_ms:.1f}", *beside)
    return table


@app.command()
def scale(
    catalog: Annotated[
        str | None, typer.Option(help="Folder of videos or manifest, to measure costs on. [default: 60 made clips]")
    ] = None,
    nodes: Annotated[str, typer.Option(help="Numbers of nodes, by comma.")] = "1,2,5,10,20,50,100,200,500,1000",
    videos: Annotated[int, typer.Option(help="Videos in all, the same at every size.")] = 1_000_000,
    per_node: Annotated[int, typer.Option(help="Videos for every node, for the steady state.")] = 5_000,
    cores: Annotated[int, typer.Option(help="Cores of a node.")] = 8,
    gpus: Annotated[int, typer.Option(help="GPUs for every node; 0: encode on the CPUs.")] = 0,
    gpu_speed: Annotated[float, typer.Option(help="Encoding on a GPU is so many times as fast as measured.")] = 20.0,
    start: Annotated[float, typer.Option(help="Seconds until an encoder is loaded.")] = 10.0,
    autoscale: Annotated[float, typer.Option(help="Seconds until all nodes but one are there.")] = 120.0,
    mtbf: Annotated[float, typer.Option(help="Hours between losses of a node, in the mean.")] = 100.0,
    straggling: Annotated[float, typer.Option(help="Share of blocks that decode four times as long.")] = 0.01,
    seed: Annotated[int, typer.Option(help="Another seed, other luck.")] = 0,
    check: Annotated[bool, typer.Option("--check", help="First predict and run 1 and 2 local nodes.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
) -> None:
    """Simulate extraction on more and more nodes from costs that are measured here, and print its efficiency.

    Efficiency: the time that bare loops of decoding and encoding would need on all cores, over the time it takes.
    Network and storage are taken to keep up; losses, stragglers and delays are as the options say.
    """
    settings = load_settings(config, sets or [])
    key = store_of(settings).key
    cluster = one_node(settings.extract, cores, gpus, gpu_speed).model_copy(
        update={"start_s": start, "autoscale_s": autoscale, "replace_s": autoscale, "mtbf_h": mtbf}
        | {"straggling": straggling, "slower": 4.0}
    )
    load = Load(videos, per_node, settings.extract.videos_per_block)
    with catalog_or_clips(catalog, 60) as clips:
        if check:
            step(f"1 and 2 local nodes: prediction, then {REPEAT} times {len(clips)} videos, in blocks of {CHECKED}")
            console.print(compared_table([compare_nodes(clips, key, settings.pipeline, count) for count in (1, 2)]))
        step(f"What a block of {MEASURED} videos costs here, and Ray for a block of {load.videos_per_block}")
        costs = measure_here(clips, key, settings.pipeline)
    console.print(costs_table(costs, load.videos_per_block))
    step("Simulating")
    console.print(sweep_table(sweep(cluster, costs, load, [int(count) for count in nodes.split(",")], seed), load))


if __name__ == "__main__":
    run(app)

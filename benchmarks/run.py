"""The benchmarks as a program; `make benchmark` runs all of them."""

import os
import sys
from collections.abc import Iterator
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from multiprocessing import get_context
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import typer

sys.path.insert(0, str(Path(__file__).parents[1]))  # for the package `benchmarks`

from benchmarks.measurement import BenchmarkRun, Measurement, ratios_table
from rayreel.catalog.video import CatalogVideo
from rayreel.cli.main import run
from rayreel.cli.options import ConfigFile, Sets, StorageRoot
from rayreel.cli.output import console, note, step
from rayreel.cli.steps.ray_session import use_ray
from rayreel.settings import Settings, load_settings

app = typer.Typer(add_completion=False, rich_markup_mode="rich")


@dataclass(frozen=True, slots=True)
class BenchmarkOptions:
    """The command's options; each benchmark uses some of them."""

    catalog: str | None
    repeat: int
    videos: int
    seconds: float
    config: Path | None
    sets: list[str]
    storage: str | None

    @property
    def settings(self) -> Settings:
        """The settings with --config, --set and --storage."""
        return load_settings(self.config, self.sets, self.storage)

    @contextmanager
    def clips(self) -> Iterator[list[CatalogVideo]]:
        """Yield the catalog's videos or, without a catalog, rendered clips."""
        from benchmarks.extraction import sample_clips
        from rayreel.catalog.read import read_catalog

        with TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
            yield sample_clips(Path(folder), 24) if self.catalog is None else read_catalog(self.catalog).videos


def extract(options: BenchmarkOptions) -> list[Measurement]:
    """Extract the same files with OpenCV, PyAV, rayreel and the bare loops."""
    from benchmarks.extraction import measure_extraction

    with options.clips() as videos:
        return measure_extraction(videos, options.repeat, options.settings, real=options.catalog is not None)


def train(options: BenchmarkOptions) -> list[Measurement]:
    """Train with Ray Train, with a bare torch loop, and on videos that are encoded again in every epoch."""
    from benchmarks.extraction import one_by_one, opencv_seeks
    from benchmarks.training import measure_training

    os.environ.pop("OMP_NUM_THREADS", None)  # Ray gives each process as many threads as it has CPUs
    with options.clips() as videos:
        peer = one_by_one(videos, opencv_seeks, options.settings)
    use_ray()
    config = options.settings.train.model_copy(update={"batch_size": 1024, "epochs": 4})
    return measure_training(config, options.videos, peer)


def search(options: BenchmarkOptions) -> list[Measurement]:
    """Search the index, with and without a filter, and exactly in memory."""
    from benchmarks.search import measure_search

    use_ray()
    return measure_search(options.videos, 100, options.settings.index)


def serve(options: BenchmarkOptions) -> list[Measurement]:
    """Find the highest rates that the service and a bare FastAPI server hold."""
    from benchmarks.serving import measure_serving

    place, cache = options.settings.place, options.settings.weights_cache
    root = place.local("benchmarks", f"serving-{options.videos}", what="The benchmark of serving")
    sets = [*options.sets, f"encoders.cache_dir={cache}"]
    return measure_serving(options.config, sets, root, options.videos, options.seconds)


BENCHMARKS = {"extract": extract, "train": train, "search": search, "serve": serve}
BenchmarkName = StrEnum("BenchmarkName", ["extract", "train", "search", "serve"])


@app.command()
def main(
    names: Annotated[list[BenchmarkName] | None, typer.Argument(help="Benchmarks to run.", show_default="all")] = None,
    catalog: Annotated[
        str | None,
        typer.Option(help="Videos of extract and train: folder or manifest.", show_default="24 rendered clips"),
    ] = None,
    repeat: Annotated[int, typer.Option(help="extract: use every file this many times, as distinct ids.")] = 20,
    videos: Annotated[int, typer.Option(help="train, search, serve: synthetic videos; 100,000 on a GPU.")] = 10_000,
    seconds: Annotated[float, typer.Option(help="serve: duration of the load at each rate.")] = 2.0,
    results: Annotated[
        Path | None, typer.Option(help="Write NAME.json into this folder. benchmarks/results holds the committed ones.")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Compare rayreel with the common way to do the same work (the peer) and with what the machine allows (the limit).

    [bold]extract[/] the pipeline; peers: OpenCV with a seek per frame, PyAV; limit: bare loops. Floors with --catalog.

    [bold]train[/] Ray Train; peer: encoding again in every epoch; limit: a bare torch loop.

    [bold]search[/] rate and recall of the index; peer and limit: exact search in memory.

    [bold]serve[/] highest rate at p99 <= 100 ms (uploads: 1 s), open-loop; peer: bare FastAPI; limit: FastAPI.

    Exits with 1 if a ratio is below its floor. All four take ten to twenty minutes on two cores that do nothing else.
    """
    os.environ["PYTHONPATH"] = os.pathsep.join([sys.path[0], os.environ.get("PYTHONPATH", "")])  # for Ray's workers
    runs = list[BenchmarkRun]()
    options = BenchmarkOptions(catalog, repeat, videos, seconds, config, sets or [], storage)
    for name in names or BenchmarkName:
        step(name)
        # A process of its own, so that each benchmark has its own Ray.
        with ProcessPoolExecutor(1, mp_context=get_context("spawn")) as process:
            measurements = process.submit(BENCHMARKS[name], options).result()
        machine, date = f"{os.cpu_count()} cores, {os.uname().machine}", f"{datetime.now(UTC):%Y-%m-%d}"
        command = " ".join(["benchmarks/run.py", *sys.argv[1:]])
        runs.append(BenchmarkRun(command=command, date=date, machine=machine, measurements=measurements))
        if results is not None:
            runs[-1].write(results / f"{name}.json")
    console.print(ratios_table(runs))
    if missed := [one.name for result in runs for one in result.below_floor()]:
        note(f"Below the floor: {', '.join(missed)}")
        raise typer.Exit(1)


if __name__ == "__main__":
    run(app)

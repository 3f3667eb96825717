"""Compare the Ray Train loop with a bare torch loop on the same features, and with an epoch that encodes again."""

import os
import statistics
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ray.train import Checkpoint, UserCallback

from benchmarks.bare_loop import bare
from benchmarks.extraction import one_by_one
from benchmarks.resident import Watch
from benchmarks.samplers import opencv_seeks
from benchmarks.synthetic import LAPTOP, SMALL, write_rows
from rayreel.catalog.read import read_catalog
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.manifest import write_manifest
from rayreel.catalog.sample.plan import plan_sample
from rayreel.encoders.load import load_encoders
from rayreel.evaluation.config import SplitConfig
from rayreel.features.store import FeatureStore
from rayreel.media.render.encode import render
from rayreel.settings import Settings
from rayreel.training.config import Ingest, TrainConfig
from rayreel.training.job import TrainJob, prepare
from rayreel.training.journal import Entry, Journal
from rayreel.training.train import train

# All but a few videos train: what is held out is no part of the rate.
_SPLITS = SplitConfig(validation=0.02, test=0.0)
_VALIDATED = 1000
_CLIPS = 8


@dataclass(frozen=True, slots=True)
class Line:
    """One measurement: what, the number with its unit, its ratio to another, and what that should be."""

    what: str
    measured: str
    ratio: float | None = None
    to: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Rates:
    """Videos per second after the first epoch: of the steps, and of epochs with validation, checkpoint and report."""

    steps: float
    epochs: float


class Clock(UserCallback):  # type: ignore[misc]
    """Writes each epoch and its time into the run's journal, as training under MLflow does."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        """Called by Ray Train after each epoch."""
        first = dict(metrics[0])
        self._journal.add(int(first.pop("epoch")), first)


def measure_speed(config: TrainConfig, rows: int, encoding: float) -> list[Line]:
    """Measure every way of training on `rows` videos with the laptop preset's dimensions.

    Trains with one thread per worker, and with all cores for one worker. `encoding` is the rate of decoding and
    encoding, videos per second.
    """
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        store = write_rows(folder, rows, LAPTOP)

        def ray_train(workers: int, threads: int) -> Rates:
            given = {"workers": workers, "cpus_per_worker": threads, "use_gpu": False, "scratch": Path(folder)}
            return through_ray(job_on(store, config, **given), f"{workers}-workers-{threads}-threads")

        def torch_alone(threads: int) -> float:
            return bare(job_on(store, config), threads)

        plain, one, two = torch_alone(1), ray_train(1, 1), ray_train(2, 1)
        plain_wide, wide = torch_alone(cores), ray_train(1, cores)
    return [
        Line("bare torch loop, 1 thread", _rate(plain)),
        Line("Ray Train, 1 worker of 1 thread", _rate(one.steps), one.steps / plain, "the bare loop", "0.8"),
        Line("… with validation, checkpoint, report", _rate(one.epochs), one.epochs / plain, "the bare loop"),
        Line("Ray Train, 2 workers of 1 thread", _rate(two.steps), two.steps / one.steps, "1 worker"),
        Line(f"bare torch loop, {cores} threads", _rate(plain_wide)),
        Line(f"Ray Train, 1 worker of {cores} threads", _rate(wide.steps), wide.steps / plain_wide, "that loop", "0.8"),
        Line("an epoch that encodes again", _rate(encoding)),
        Line("an epoch on features, 1 worker", _rate(one.epochs), one.epochs / encoding, "encoding again", "200"),
    ]


def encode_again(catalog: str | None, settings: Settings) -> float:
    """Videos per second of a loop that decodes and encodes every video in every epoch, one after the other."""
    slow = settings.encoders.model_copy(update={"runtime": "torch", "precision": "fp32"})
    encoders = load_encoders(slow, settings.weights_cache)
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        videos = read_catalog(catalog or str(_clips(Path(folder)))).videos
        return one_by_one(videos, opencv_seeks, encoders, settings)


def measure_memory(config: TrainConfig, counts: Sequence[int], batch: int) -> list[Line]:
    """What a worker holds that trains on so many small videos, mapped from disk: of its own, and mapped."""
    own: list[float] = []
    lines = []
    for count in counts:
        with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
            store = write_rows(folder, count, SMALL)
            given = {"workers": 1, "use_gpu": False, "scratch": Path(folder), "ingest": Ingest.MAPPED, "epochs": 2}
            with Watch(os.getpid()) as watch:
                entries = timed(job_on(store, config, batch_size=batch, **given), "mapped")
        first_s = entries[0].time_ms / 1000
        (start, _), (later, mapped) = watch.peak(end_s=first_s), watch.peak(start_s=first_s)
        own.append(later)
        to = f"{counts[0]:,} videos"
        lines += [
            Line(f"own memory in training, {count:,} videos", f"{later:,.0f} MB", later / own[0], to, "0.8 to 1.2"),
            Line("… at most, while it starts", f"{start:,.0f} MB"),
            Line("… libraries and mapped files", f"{mapped:,.0f} MB"),
        ]
    return lines


def job_on(store: FeatureStore, config: TrainConfig, **given: Any) -> TrainJob:  # noqa: ANN401
    """A job on all of a store's rows; `given` take the place of settings of `config`."""
    fixed = {"validation_videos": _VALIDATED, "max_failures": 0, "patience": 0, "checkpoint_steps": 0}
    return TrainJob(
        storage=store.storage.root,
        key=store.key,
        features=store.fingerprint(),
        train=config.model_copy(update={**fixed, **given}),
        splits=_SPLITS,
    )


def through_ray(job: TrainJob, name: str) -> Rates:
    """Train as jobs/train.py does, on the running Ray."""
    entries = timed(job, name)
    spent_s = (entries[-1].time_ms - entries[0].time_ms) / 1000
    videos = len(prepare(job).split.train) * (len(entries) - 1)
    steps = statistics.median(entry.metrics["train/samples_per_s"] for entry in entries[1:])
    return Rates(steps, videos / spent_s)


def timed(job: TrainJob, name: str) -> list[Entry]:
    """Train; the epochs, and when each was over."""
    journal = Journal(job.storage, name)
    train(job, name, [Clock(journal)])
    return journal.read()


def _rate(videos_per_s: float) -> str:
    return f"{videos_per_s:,.1f} videos/s"


def _clips(folder: Path) -> Path:
    clips = plan_sample(SampleConfig(clips=_CLIPS, categories=_CLIPS))
    for clip in clips:
        render(clip, folder / clip.file)
    return write_manifest(clips, folder)

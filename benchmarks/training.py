"""Training: Ray Train beside the shortest torch loop, and on features beside encoding again in every epoch."""

import os
import statistics
import tempfile
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import ray
import torch
from ray.train import Checkpoint, UserCallback
from torch import Tensor, nn

from benchmarks.measurement import Measurement, Reference
from benchmarks.synthetic import write_rows
from rayreel.evaluation.config import SplitConfig
from rayreel.features.store import FeatureStore
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.global_batch import GlobalBatch
from rayreel.training.config import Ingest, TrainConfig
from rayreel.training.job import TrainJob, prepare
from rayreel.training.journal import Journal
from rayreel.training.loop import make_learner
from rayreel.training.train import train


class EpochClock(UserCallback):  # type: ignore[misc]
    """Writes the metrics of each epoch and its time into the run's journal."""

    def __init__(self, journal: Journal) -> None:
        self._journal = journal

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        """Write one epoch; Ray Train calls this."""
        first = dict(metrics[0])
        self._journal.add(int(first.pop("epoch")), first)


def measure_training(config: TrainConfig, rows: int, encoding: float) -> list[Measurement]:
    """Train on `rows` synthetic videos of preset laptop's size; `encoding` is the peer's videos/s. Needs a Ray.

    Rates are those of the steps after the first epoch; the peer's is compared with whole epochs, which include
    validation, checkpoint and report.
    """
    cores = os.cpu_count() or 1
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        store, place = write_rows(folder, rows), {"use_gpu": False, "scratch": Path(folder)}

        def ray_train(workers: int, threads: int) -> tuple[float, float]:
            job = training_job(store, config, workers=workers, cpus_per_worker=threads, **place)
            return through_ray(job, f"{workers}-workers-{threads}-threads", train_videos)

        def torch_alone(threads: int) -> float:
            task = ray.remote(num_cpus=threads, max_retries=0)(bare_loop)
            return float(statistics.median(ray.get(task.remote(training_job(store, config), threads))[1:]))

        train_videos = len(prepare(training_job(store, config)).split.train)
        bare, (one, epochs), (two, _) = torch_alone(1), ray_train(1, 1), ray_train(2, 1)
        bare_wide, (wide, _) = torch_alone(cores), ray_train(1, cores)
    again = Reference(name="encoding again in every epoch", value=encoding, floor=200)
    limits = {
        "1 thread": (one, Reference(name="bare torch loop, 1 thread", value=bare, floor=0.8)),
        f"{cores} threads": (wide, Reference(name=f"bare torch loop, {cores} threads", value=bare_wide, floor=0.8)),
        "2 workers": (two, Reference(name="2 x one worker", value=2 * one, floor=0.7)),
    }
    return [
        Measurement(name="training, whole epochs", unit="videos/s", value=epochs, peer=again),
        *(Measurement(name=f"training, {n}", unit="videos/s", value=v, limit=of) for n, (v, of) in limits.items()),
    ]


def training_job(store: FeatureStore, config: TrainConfig, **changes: Any) -> TrainJob:  # noqa: ANN401
    """Return a job on a store that trains on almost all of its videos; `changes` replace settings of `config`."""
    fixed = {"validation_videos": 1000, "max_failures": 0, "patience": 0, "checkpoint_steps": 0}
    train_config, splits = config.model_copy(update={**fixed, **changes}), SplitConfig(validation=0.02, test=0.0)
    return TrainJob(store.storage.root, store.key, store.fingerprint(), train=train_config, splits=splits)


def through_ray(job: TrainJob, name: str, train_videos: int) -> tuple[float, float]:
    """Train as the command does; return the videos per second after the first epoch, of steps and of whole epochs."""
    journal = Journal(job.storage, name)
    train(job, name, [EpochClock(journal)])
    first, *later = journal.read()
    videos, seconds = train_videos * len(later), (later[-1].time_ms - first.time_ms) / 1000
    return statistics.median(entry.metrics["train/samples_per_s"] for entry in later), videos / seconds


def bare_loop(job: TrainJob, threads: int) -> list[float]:
    """Train with the same tower, loss and optimiser and nothing else; return the videos per second of each epoch.

    Features are in memory, the two views of a video are its even and odd vectors (a single one is in both), and nothing
    is drawn, checked or reported. All videos must have the same number of vectors.
    """
    torch.set_num_threads(threads)
    ready = prepare(replace(job, train=job.train.model_copy(update={"ingest": Ingest.MEMORY})))
    rows, count = torch.from_numpy(ready.split.train), len(ready.matrix)
    x_NVD = {m: torch.tensor(v.values).view(count, -1, v.values.shape[1]) for m, v in ready.matrix.vectors.items()}
    learner, rates = make_learner(job, ready), []
    learner.tower.train()

    def view(chosen: Tensor, parity: int) -> FeatureBatch:
        x_BVD = {m: x[chosen].float() for m, x in x_NVD.items()}
        sizes = {m: x.shape[1] for m, x in x_BVD.items()}
        masks = {m: ((torch.arange(n) % 2 == parity) | (n == 1)).expand(len(chosen), n) for m, n in sizes.items()}
        return FeatureBatch(x_BVD, masks, chosen)

    for _ in range(job.train.epochs):
        started = time.perf_counter()
        for chosen in torch.split(rows[torch.randperm(len(rows))], job.train.batch_size):
            a, b = learner.tower(view(chosen, 0)), learner.tower(view(chosen, 1))
            learner.optimizer.zero_grad()
            learner.loss(a, b, GlobalBatch.of_one(chosen)).backward()
            nn.utils.clip_grad_norm_(learner.parameters, job.train.clip_norm)
            learner.optimizer.step()
        rates.append(len(rows) / (time.perf_counter() - started))
    return rates

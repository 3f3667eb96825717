"""Training: Ray Train beside the shortest torch loop, and on features beside encoding again in every epoch."""

import os
import statistics
import tempfile
import time
from dataclasses import dataclass, replace
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


@dataclass
class EpochClock(UserCallback):  # type: ignore[misc]
    """Writes the metrics of each epoch and its time into the run's journal."""

    journal: Journal

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        """Write one epoch; Ray Train calls this."""
        first = dict(metrics[0])
        self.journal.add(int(first.pop("epoch")), first)


def measure_training(config: TrainConfig, rows: int, encoding: float) -> list[Measurement]:
    """Train on `rows` synthetic videos of preset laptop's size; `encoding` is the peer's videos/s. Needs a Ray.

    Rates are those of the steps after the first epoch; the peer's is compared with whole epochs, which include
    validation, checkpoint and report. With GPUs, workers and bare loops have one each.
    """
    cores, gpus = os.cpu_count() or 1, int(ray.cluster_resources().get("GPU", 0))
    runs = {"1 thread": (1, 1, config.batch_size), f"{cores} threads": (1, cores, config.batch_size)}
    if gpus:
        runs = {f"batch {size:,}": (1, 1, size) for size in (1024, 4096)}
    if gpus != 1:
        runs["2 workers"] = 2, 1, config.batch_size
    found, alone = dict[str, tuple[float, float]](), dict[str, float]()
    with tempfile.TemporaryDirectory(prefix="rayreel-benchmark-") as folder:
        store = write_rows(folder, rows)
        train_videos = len(prepare(training_job(store, config)).split.train)
        for name, (workers, threads, size) in runs.items():
            sized = config.model_copy(update={"batch_size": size, "use_gpu": gpus > 0, "scratch": Path(folder)})
            job = training_job(store, sized, workers=workers, cpus_per_worker=threads)
            found[name] = through_ray(job, name.replace(" ", "-"), train_videos)
            if workers == 1:
                task = ray.remote(num_cpus=threads, num_gpus=min(gpus, 1), max_retries=0)(bare_loop)
                alone[name] = statistics.median(ray.get(task.remote(job, threads))[1:])
    first, epochs = next(iter(found.values()))
    peer = Reference(name="encoding again in every epoch", value=encoding, floor=200)
    two = Reference(name="2 x one worker", value=2 * first, floor=0.7)
    limits = {name: Reference(name=f"bare torch loop, {name}", value=rate, floor=0.8) for name, rate in alone.items()}
    rates = {f"training, {name}": (rate, limits.get(name, two)) for name, (rate, _) in found.items()}
    return [
        Measurement(name="training, whole epochs", unit="videos/s", value=epochs, peer=peer),
        *(Measurement(name=name, unit="videos/s", value=rate, limit=limit) for name, (rate, limit) in rates.items()),
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

    Features are in memory, of the GPU if there is one; the two views of a video are its even and odd vectors (a single
    one is in both), and nothing is drawn, checked or reported. All videos must have the same number of vectors.
    """
    torch.set_num_threads(threads)
    device = "cuda" if ray.get_gpu_ids() else "cpu"
    ready = prepare(replace(job, train=job.train.model_copy(update={"ingest": Ingest.MEMORY})))
    rows, count = torch.from_numpy(ready.split.train).to(device), len(ready.matrix)
    vectors = ready.matrix.vectors.items()
    x_NVD = {m: torch.tensor(v.values, device=device).view(count, -1, v.values.shape[1]) for m, v in vectors}
    learner, rates = make_learner(job, ready, device), []
    learner.tower.train()

    def view(chosen: Tensor, parity: int) -> FeatureBatch:
        x_BVD = {m: x[chosen].float() for m, x in x_NVD.items()}
        places = {m: torch.arange(x.shape[1], device=device) for m, x in x_BVD.items()}
        masks = {m: ((p % 2 == parity) | (len(p) == 1)).expand(len(chosen), -1) for m, p in places.items()}
        return FeatureBatch(x_BVD, masks, chosen)

    for _ in range(job.train.epochs):
        started = time.perf_counter()
        for chosen in torch.split(rows[torch.randperm(len(rows), device=device)], job.train.batch_size):
            a, b = learner.tower(view(chosen, 0)), learner.tower(view(chosen, 1))
            learner.optimizer.zero_grad()
            learner.loss(a, b, GlobalBatch.of_one(chosen)).backward()
            nn.utils.clip_grad_norm_(learner.parameters, job.train.clip_norm)
            learner.optimizer.step()
        if device == "cuda":
            torch.cuda.synchronize()
        rates.append(len(rows) / (time.perf_counter() - started))
    return rates

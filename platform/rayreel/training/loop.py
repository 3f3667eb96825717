"""The training loop of each Ray Train worker."""

import mmap
import os
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray

from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.embed import collate
from rayreel.tower.losses.make import make_loss
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.batches import Batches, PairBatch, prefetch
from rayreel.training.checkpoint import latest_state, report
from rayreel.training.config import TrainConfig
from rayreel.training.distributed import gather_rows, world
from rayreel.training.inputs import fit_inputs
from rayreel.training.job import Prepared, TrainJob, prepare
from rayreel.training.order import count_steps, epoch_batches
from rayreel.training.progress import Progress, StepResult
from rayreel.training.resident import ResidentFeatures
from rayreel.training.step import Learner

# Score of a checkpoint within an epoch: below all others, so that Ray Train ranks it last and deletes it first.
# Not -inf, which Ray Train writes as null and cannot resume from.
_NOT_VALIDATED = -1.0
# A GPU waits at each reading for the next step to be queued.
_READ_AT_ONCE = 16


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How a run ended: number of completed epochs and, if it diverged, where and how."""

    epochs: int
    diverged: str | None = None


def train_loop(job: TrainJob) -> TrainingOutcome:
    """Train, and report metrics and a checkpoint after every epoch. Resumes at the exact step of the latest checkpoint.

    A diverging run returns an outcome instead of raising: Ray Train would restart it, and it would diverge again.
    """
    prepared = prepare(job, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    device = ray.train.torch.get_device() if job.train.device == "auto" else torch.device(job.train.device)
    run = Run(job, prepared, make_learner(job, prepared, device), Progress())
    if (state := latest_state()) is not None:
        run.load(state)
    while not run.finished:
        divergence = run.train_epoch()
        if divergence is not None:
            return TrainingOutcome(run.progress.epoch, divergence)
        run.end_epoch()
    return TrainingOutcome(run.progress.epoch)


def make_learner(job: TrainJob, prepared: Prepared, device: torch.device | str = "cpu") -> Learner:
    """Return a learner with an untrained tower, identical on every worker for a given seed."""
    torch.manual_seed(job.train.seed)
    tower = VideoTower(job.tower, job.key.dims)
    fit_inputs(tower, prepared.matrix, prepared.split.train, job.train.seed, job.words)
    return Learner(
        tower, make_loss(job.loss), job.train, job.train.epochs * steps_per_epoch(job.train, prepared), device
    )


def steps_per_epoch(config: TrainConfig, prepared: Prepared) -> int:
    """Return the number of steps in an epoch over the training videos."""
    return count_steps(len(prepared.split.train), config.batch_size)


class Run:
    """The state of a run on one worker: data, learner and progress."""

    def __init__(self, job: TrainJob, prepared: Prepared, learner: Learner, progress: Progress) -> None:
        self.job, self.prepared, self.learner, self.progress = job, prepared, learner, progress
        self.samples_per_s = 0.0
        rank, workers = world()
        resident = ResidentFeatures.of(prepared.matrix, learner.device)
        self.batches = Batches(
            prepared.matrix, prepared.plan, job.pairs, job.train.seed, job.loss.log_q, rank, workers, resident
        )

    def state(self) -> dict[str, Any]:
        """Return the state needed to resume, with the mined negatives within an epoch."""
        within = self.progress.step > 0 and self.prepared.plan.mined_TR is not None
        mined = torch.from_numpy(self.prepared.plan.mined_TR) if within else None
        return {"learner": self.learner.state(), "progress": self.progress.state(), "mined": mined}

    def load(self, state: dict[str, Any]) -> None:
        """Restore a checkpoint's state."""
        self.learner.load(state["learner"])
        self.progress = Progress.of(state["progress"])
        self.prepared.plan.mined_TR = None if state["mined"] is None else state["mined"].numpy()

    @property
    def finished(self) -> bool:
        """Whether all epochs are trained, or validation has not improved for `train.patience` epochs."""
        if self.job.refit is not None:
            return self.progress.epoch >= self.job.refit
        return self.progress.epoch >= self.job.train.epochs or self.progress.stale(self.job.train.patience)

    def train_epoch(self) -> str | None:
        """Train the rest of the current epoch; return a description if training diverges, else None."""
        config = self.job.train
        self._mine()
        offset = self.progress.epoch * steps_per_epoch(config, self.prepared)
        first, started = self.progress.step, time.perf_counter()
        taken: list[tuple[int, StepResult]] = []
        for step, batch in prefetch(self._batches(), config.prefetch):
            taken.append((step, self.learner.step(batch, offset + step, (config.seed, self.progress.epoch, step))))
            checkpoint = bool(config.checkpoint_steps) and (step + 1) % config.checkpoint_steps == 0
            if checkpoint or not self.learner.deferred or len(taken) == _READ_AT_ONCE:
                if (divergence := self._read(taken)) is not None:
                    return divergence
                taken.clear()
            if checkpoint:
                self._report({self.prepared.validation.score: _NOT_VALIDATED})
        if (divergence := self._read(taken)) is not None:
            return divergence
        trained_videos = len(self.prepared.split.train) - first * config.batch_size
        self.samples_per_s = max(0, trained_videos) / (time.perf_counter() - started)
        return None

    def end_epoch(self) -> None:
        """Validate, report and advance to the next epoch. A refit has no videos left to validate with."""
        epoch, metrics = self.progress.epoch, self.progress.metrics()
        metrics["train/samples_per_s"] = self.samples_per_s
        if self.learner.loss.temperature is not None:
            metrics["train/temperature"] = self.learner.loss.temperature
        validation = self.prepared.validation
        if self.job.refit is not None:
            self.progress.end_epoch(float(epoch))
            self._report(metrics)
            return
        metrics |= validation.measure(self._embed(validation.matrix, validation.rows))
        self.progress.end_epoch(metrics[validation.score])
        self._report({"epoch": epoch, **metrics})

    def _read(self, taken: Sequence[tuple[int, StepResult]]) -> str | None:
        """Record the results of steps; return a description if training diverges, else None."""
        for step, result in taken:
            self.progress.add(step, result)
            if (divergence := self._divergence(step, result)) is not None:
                return divergence
        return None

    def _divergence(self, step: int, result: StepResult) -> str | None:
        if self.learner.broken or (self.learner.deferred and not result.finite):
            what = "The loss or its temperature is not finite"
        elif self.progress.grows(self.job.train.diverged_at):
            what = f"The smoothed loss has grown to {self.progress.smooth:.3g}"
        else:
            return None
        where = f"epoch {self.progress.epoch}, step {step}, at learning rate {result.rate:.3g}"
        return f"{what} in {where} (loss {result.loss:.3g}, gradient norm {result.norm:.3g})"

    def _batches(self) -> Iterator[tuple[int, PairBatch]]:
        config, largest = self.job.train, self.batches.largest()
        train, epoch = self.prepared.split.train, self.progress.epoch
        steps = epoch_batches(
            train,
            config.batch_size,
            epoch,
            config.seed,
            first=self.progress.step,
            chance_R=self.prepared.plan.anchor_T,
        )
        for step, anchors in steps:
            yield step, self.batches.make(anchors, epoch, step, largest)

    def _mine(self) -> None:
        """Mine negatives at the start of an epoch; a restart within an epoch loads them from the checkpoint."""
        if self.job.pairs.negatives == "mined" and self.progress.step == 0:
            self.prepared.plan.mine(self._embed(self.prepared.matrix, self.prepared.split.train), self.learner.device)

    def _embed(self, matrix: FeatureMatrix, rows_R: NDArray[np.int64]) -> NDArray[np.float32]:
        """[N, dim]: embeddings of these rows, and zeros for all others, which use no memory."""
        embedding_ND = lazy_zeros(len(matrix), self.job.tower.dim)
        gather = self.batches.collate if matrix is self.prepared.matrix else partial(collate, matrix)
        embedding_ND[rows_R] = embed_rows(self.learner.tower, gather, rows_R)
        return embedding_ND

    def _report(self, metrics: dict[str, float]) -> None:
        report(metrics, self.state(), partial(save_tower, self.learner.tower))


@torch.no_grad()
def embed_rows(
    tower: VideoTower,
    gather: Callable[[NDArray[np.int64]], FeatureBatch],
    rows_R: NDArray[np.int64],
    batch_size: int = 1024,
) -> NDArray[np.float32]:
    """Return unit embeddings [R, dim] of these rows on every worker. All workers must pass the same rows.

    `gather` returns the features of some of them.
    """
    tower.eval()
    rank, workers = world()
    mine = np.array_split(rows_R, workers)[rank]
    parts = [
        tower(gather(mine[start : start + batch_size]).to(tower.device)).float().cpu().numpy()
        for start in range(0, len(mine), batch_size)
    ]
    return gather_rows(np.concatenate(parts) if parts else np.empty((0, tower.dim), np.float32), tower.device)


def lazy_zeros(rows: int, dim: int) -> NDArray[np.float32]:
    """Return zeros [rows, dim] that use memory only for the pages written.

    np.zeros requests huge pages, so each of a thousand scattered rows would use 2 MB.
    """
    pages = mmap.mmap(-1, max(1, 4 * rows * dim), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    if hasattr(mmap, "MADV_NOHUGEPAGE"):  # Linux
        pages.madvise(mmap.MADV_NOHUGEPAGE)
    return np.frombuffer(pages, np.float32, rows * dim).reshape(rows, dim)

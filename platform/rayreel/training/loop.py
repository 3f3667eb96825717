"""What each Ray Train worker does."""

import os
import time
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
import ray.train
import ray.train.torch
import torch
from numpy.typing import NDArray

from rayreel.tower.losses.make import make_loss
from rayreel.tower.tower import VideoTower
from rayreel.training import checkpoint
from rayreel.training.batches import Batches, PairBatch, prefetch
from rayreel.training.config import TrainConfig
from rayreel.training.distributed import world
from rayreel.training.embedding import embed_rows, lazy_zeros
from rayreel.training.job import Prepared, TrainJob, prepare
from rayreel.training.order import count_steps, epoch_batches
from rayreel.training.progress import Progress
from rayreel.training.step import Learner, StepResult
from rayreel.training.validation import SCORE

# Feature statistics of so many training videos are those of all of them, and fit into any memory.
_STATISTICS_VIDEOS = 10_000
# Of a checkpoint within an epoch: Ray Train ranks checkpoints by score, so that this one comes last and goes first.
# No -inf: Ray Train writes that as null, and cannot go on from it.
_NOT_VALIDATED = -1.0


@dataclass(frozen=True, slots=True)
class TrainingOutcome:
    """How a run ended: after so many epochs, and if it diverged, where and how."""

    epochs: int
    diverged: str | None = None


def train_loop(job: TrainJob) -> TrainingOutcome:
    """Train, and after every epoch report metrics and a checkpoint. Goes on from the latest checkpoint, to the step.

    A diverging run ends with an outcome, not an exception: Ray Train would start it again and see it diverge again.
    """
    prepared = prepare(job, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    device = ray.train.torch.get_device() if job.train.device == "auto" else torch.device(job.train.device)
    run = Run(job, prepared, make_learner(job, prepared, device), Progress())
    if (state := checkpoint.latest_state()) is not None:
        run.load(state)
    while run.progress.epoch < job.train.epochs and not run.progress.stale(job.train.patience):
        divergence = run.train_epoch()
        if divergence is not None:
            return TrainingOutcome(run.progress.epoch, divergence)
        run.end_epoch()
    return TrainingOutcome(run.progress.epoch)


def make_learner(job: TrainJob, prepared: Prepared, device: torch.device | str = "cpu") -> Learner:
    """A tower before its first step, the same for every worker of a seed."""
    torch.manual_seed(job.train.seed)
    tower = VideoTower(job.tower, job.key.dims)
    train = prepared.split.train
    if len(train) > _STATISTICS_VIDEOS:
        train = np.random.default_rng(job.train.seed).choice(train, _STATISTICS_VIDEOS, replace=False)
    tower.fit_inputs({modality: vectors.of(train) for modality, vectors in prepared.matrix.vectors.items()})
    return Learner(
        tower, make_loss(job.loss), job.train, job.train.epochs * steps_per_epoch(job.train, prepared), device
    )


def steps_per_epoch(config: TrainConfig, prepared: Prepared) -> int:
    """Steps of an epoch over the training videos."""
    return count_steps(len(prepared.split.train), config.batch_size)


class Run:
    """A run under way on one worker: its data, its learner, and how far it is."""

    def __init__(self, job: TrainJob, prepared: Prepared, learner: Learner, progress: Progress) -> None:
        self.job, self.prepared, self.learner, self.progress = job, prepared, learner, progress
        self.samples_per_s = 0.0
        rank, workers = world()
        self.batches = Batches(prepared.matrix, prepared.plan, job.pairs, job.train.seed, job.loss.log_q, rank, workers)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.learner.load(state["learner"])
        self.progress = Progress.of(state["progress"])
        self.prepared.plan.mined_TR = None if state["mined"] is None else state["mined"].numpy()

    def train_epoch(self) -> str | None:
        """The rest of the current epoch; returns what is wrong if training diverges."""
        config = self.job.train
        self._mine()
        offset = self.progress.epoch * steps_per_epoch(config, self.prepared)
        first, started = self.progress.step, time.perf_counter()
        for step, batch in prefetch(self._batches(), config.prefetch):
            taken = self.learner.step(batch, offset + step, (config.seed, self.progress.epoch, step))
            self.progress.add(step, taken)
            if (divergence := self._divergence(step, taken)) is not None:
                return divergence
            if config.checkpoint_steps and (step + 1) % config.checkpoint_steps == 0:
                self._report({SCORE: _NOT_VALIDATED})
        taken_since = len(self.prepared.split.train) - first * config.batch_size
        self.samples_per_s = max(0, taken_since) / (time.perf_counter() - started)
        return None

    def end_epoch(self) -> None:
        """Validate, report and turn to the next epoch."""
        epoch, metrics = self.progress.epoch, self.progress.metrics()
        metrics["train/samples_per_s"] = self.samples_per_s
        if self.learner.loss.temperature is not None:
            metrics["train/temperature"] = self.learner.loss.temperature
        metrics |= self.prepared.validation.measure(self._embed(self.prepared.validation.rows))
        self.progress.end_epoch(metrics[SCORE])
        self._report({"epoch": epoch, **metrics})

    def _divergence(self, step: int, taken: StepResult) -> str | None:
        if self.learner.broken:
            what = "The loss or its temperature is no number any more"
        elif self.progress.grows(self.job.train.diverged_at):
            what = f"The loss has grown to {self.progress.smooth:.3g}"
        else:
            return None
        where = f"epoch {self.progress.epoch}, step {step}, at learning rate {taken.rate:.3g}"
        return f"{what} in {where} (loss {taken.loss:.3g}, gradient {taken.norm:.3g} long)"

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
        """Mine negatives with the tower as it is when the epoch begins; a restart within it has them from before."""
        if self.job.pairs.negatives == "mined" and self.progress.step == 0:
            self.prepared.plan.mine(self._embed(self.prepared.split.train), self.learner.device)

    def _embed(self, rows_R: NDArray[np.int64]) -> NDArray[np.float32]:
        """[N, dim]: embeddings of these rows, zeros for all others, which take no memory until someone writes them."""
        embedding_ND = lazy_zeros(len(self.prepared.matrix), self.job.tower.dim)
        embedding_ND[rows_R] = embed_rows(self.learner.tower, self.prepared.matrix, rows_R)
        return embedding_ND

    def _report(self, metrics: dict[str, float]) -> None:
        """Rank 0 brings the checkpoint; all report, which is also where they wait for each other."""
        if world()[0] != 0:
            ray.train.report(metrics)
            return
        within = self.progress.step > 0 and self.prepared.plan.mined_TR is not None
        mined = torch.from_numpy(self.prepared.plan.mined_TR) if within else None
        with checkpoint.saved(self.learner, self.progress, {"mined": mined}) as made:
            ray.train.report(metrics, checkpoint=made)

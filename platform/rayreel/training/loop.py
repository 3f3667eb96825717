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
from rayreel.training.batches import Batches, PairBatch, ahead
from rayreel.training.config import TrainConfig
from rayreel.training.distributed import world
from rayreel.training.embedding import blank, embed_matrix_rows
from rayreel.training.job import Prepared, TrainJob, prepare
from rayreel.training.order import count_steps, joined_steps
from rayreel.training.progress import Progress
from rayreel.training.step import Learner, Taken
from rayreel.training.validation import SCORE

# Feature statistics of so many training videos are those of all of them, and fit into any memory.
_FITTED_ON = 10_000
# Of a checkpoint within an epoch: Ray Train ranks checkpoints by score, so that this one comes last and goes first.
# No -inf: Ray Train writes that as null, and cannot go on from it.
_UNJUDGED = -1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """How a run ended: after so many epochs, and if it diverged, where and how."""

    epochs: int
    diverged: str | None = None


def train_loop(job: TrainJob) -> Outcome:
    """Train, and after every epoch report metrics and a checkpoint. Goes on from the latest checkpoint, to the step.

    A diverging run ends with an outcome, not an exception: Ray Train would start it again and see it diverge again.
    """
    ready = prepare(job, int(os.environ.get("LOCAL_WORLD_SIZE", "1")))
    device = ray.train.torch.get_device() if job.train.device == "auto" else torch.device(job.train.device)
    run = Run(job, ready, fresh_learner(job, ready, device), Progress())
    if (state := checkpoint.latest()) is not None:
        run.load(state)
    while run.progress.epoch < job.train.epochs and not run.progress.stale(job.train.patience):
        trouble = run.epoch()
        if trouble is not None:
            return Outcome(run.progress.epoch, trouble)
        run.end_epoch()
    return Outcome(run.progress.epoch)


def fresh_learner(job: TrainJob, ready: Prepared, device: torch.device | str = "cpu") -> Learner:
    """A tower before its first step, the same for every worker of a seed."""
    torch.manual_seed(job.train.seed)
    tower = VideoTower(job.tower, job.key.dims)
    train = ready.split.train
    if len(train) > _FITTED_ON:
        train = np.random.default_rng(job.train.seed).choice(train, _FITTED_ON, replace=False)
    tower.fit_inputs({modality: vectors.of(train) for modality, vectors in ready.matrix.vectors.items()})
    return Learner(tower, make_loss(job.loss), job.train, job.train.epochs * steps_per_epoch(job.train, ready), device)


def steps_per_epoch(config: TrainConfig, ready: Prepared) -> int:
    """Steps of an epoch over the training videos."""
    return count_steps(len(ready.split.train), config.batch_size)


class Run:
    """A run under way on one worker: its data, its learner, and how far it is."""

    def __init__(self, job: TrainJob, ready: Prepared, learner: Learner, progress: Progress) -> None:
        self.job, self.ready, self.learner, self.progress = job, ready, learner, progress
        self.samples_per_s = 0.0
        rank, workers = world()
        self.batches = Batches(ready.matrix, ready.plan, job.pairs, job.train.seed, job.loss.log_q, rank, workers)

    def load(self, state: dict[str, Any]) -> None:
        """Go on from a checkpoint's state."""
        self.learner.load(state["learner"])
        self.progress = Progress.of(state["progress"])
        self.ready.plan.mined_TR = None if state["mined"] is None else state["mined"].numpy()

    def epoch(self) -> str | None:
        """The rest of the current epoch; returns what is wrong if training diverges."""
        config = self.job.train
        self._mine()
        offset = self.progress.epoch * steps_per_epoch(config, self.ready)
        first, started = self.progress.step, time.perf_counter()
        for step, batch in ahead(self._batches(), config.prefetch):
            taken = self.learner.take(batch, offset + step, (config.seed, self.progress.epoch, step))
            self.progress.add(step, taken)
            if (trouble := self._trouble(step, taken)) is not None:
                return trouble
            if config.checkpoint_steps and (step + 1) % config.checkpoint_steps == 0:
                self._report({SCORE: _UNJUDGED})
        taken_since = len(self.ready.split.train) - first * config.batch_size
        self.samples_per_s = max(0, taken_since) / (time.perf_counter() - started)
        return None

    def end_epoch(self) -> None:
        """Validate, report and turn to the next epoch."""
        epoch, metrics = self.progress.epoch, self.progress.metrics()
        metrics["train/samples_per_s"] = self.samples_per_s
        if self.learner.loss.temperature is not None:
            metrics["train/temperature"] = self.learner.loss.temperature
        metrics |= self.ready.validation.measure(self._embedded(self.ready.validation.rows))
        self.progress.end_epoch(metrics[SCORE])
        self._report({"epoch": epoch, **metrics})

    def _trouble(self, step: int, taken: Taken) -> str | None:
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
        train, epoch = self.ready.split.train, self.progress.epoch
        steps = joined_steps(
            train,
            config.batch_size,
            epoch,
            config.seed,
            first=self.progress.step,
            chance_R=self.ready.plan.anchor_T,
        )
        for step, anchors in steps:
            yield step, self.batches.make(anchors, epoch, step, largest)

    def _mine(self) -> None:
        """Mine negatives with the tower as it is when the epoch begins; a restart within it has them from before."""
        if self.job.pairs.negatives == "mined" and self.progress.step == 0:
            self.ready.plan.mine(self._embedded(self.ready.split.train), self.learner.device)

    def _embedded(self, rows_R: NDArray[np.int64]) -> NDArray[np.float32]:
        """[N, dim]: embeddings of these rows, zeros for all others, which take no memory until someone writes them."""
        embedding_ND = blank(len(self.ready.matrix), self.job.tower.dim)
        embedding_ND[rows_R] = embed_matrix_rows(self.learner.tower, self.ready.matrix, rows_R)
        return embedding_ND

    def _report(self, metrics: dict[str, float]) -> None:
        """Rank 0 brings the checkpoint; all report, which is also where they wait for each other."""
        if world()[0] != 0:
            ray.train.report(metrics)
            return
        within = self.progress.step > 0 and self.ready.plan.mined_TR is not None
        mined = torch.from_numpy(self.ready.plan.mined_TR) if within else None
        with checkpoint.written(self.learner, self.progress, {"mined": mined}) as made:
            ray.train.report(metrics, checkpoint=made)

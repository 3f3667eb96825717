"""Train a tower on features: data-parallel training on a Ray cluster."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.train import Checkpoint, CheckpointConfig, Result, UserCallback

from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob, prepare
from rayreel.training.loop import TrainingOutcome, train_loop
from rayreel.training.progress import Diverged
from rayreel.training.trainer import run_loop

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch of a run, the validation metric that selected it, and the number of epochs."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    epochs: int
    score: str


def train(job: TrainJob, name: str, callbacks: Sequence[UserCallback] = ()) -> Trained:
    """Train on the running Ray cluster, with checkpoints in `checkpoints/name` below the storage root.

    An interrupted run of the same name continues from its latest checkpoint; a completed one returns its result.
    Raises Diverged, which names the last good checkpoint, and RayreelError if training cannot start.
    """
    score = prepare(job).validation.score  # raises on invalid data before any worker starts
    log.info("the best epoch of %s is selected by %s", name, score)
    result = run_loop(
        train_loop,
        job,
        job.train,
        (job.train.fewest_workers, job.train.most_workers),
        storage=job.storage,
        name=name,
        kept=CheckpointConfig(num_to_keep=job.train.keep_checkpoints, checkpoint_score_attribute=score),
        backend="gloo" if job.train.device == "cpu" else None,
        callbacks=callbacks,
    )
    return _best(result, job.train, score)


def _best(result: Result, config: TrainConfig, score: str) -> Trained:
    outcome = result.return_value
    assert isinstance(outcome, TrainingOutcome), "a completed run returns an outcome"
    if outcome.diverged is not None:
        kept = (
            f"The last good checkpoint is {result.checkpoint.path}."
            if result.checkpoint
            else "The run has no checkpoint."
        )
        raise Diverged(
            f"{outcome.diverged}. {kept} Lower the learning rate with --set "
            f"train.learning_rate={config.learning_rate / 3:.1g}, lengthen the warm-up with --set train.warmup=0.1, or "
            "compute in fp32 with --set train.precision=fp32."
        )
    checkpoint, metrics = max(result.best_checkpoints, key=lambda kept: kept[1][score])
    return Trained(checkpoint, metrics, outcome.epochs, score)

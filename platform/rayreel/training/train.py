"""Train a tower on features: data-parallel training on a Ray cluster."""

import logging
from collections.abc import Sequence
from dataclasses import dataclass, replace
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
    """A trained tower, the metrics of its best epoch, the number of epochs and the metric that selected the best.

    With `refit`, `checkpoint` is that of the second training, on training and validation videos for this number of
    epochs. `selected` is the best epoch of the first, which has not seen the validation videos.
    """

    checkpoint: Checkpoint
    selected: Checkpoint
    metrics: dict[str, Any]
    epochs: int
    score: str
    refit: int | None = None


def train(job: TrainJob, name: str, callbacks: Sequence[UserCallback] = ()) -> Trained:
    """Train on the running Ray cluster, with checkpoints in `checkpoints/name` below the storage root.

    An interrupted run of the same name continues from its latest checkpoint; a completed one returns its result.
    Raises Diverged, which names the last good checkpoint, and RayreelError if training cannot start.
    """
    score = prepare(job).validation.score  # raises on invalid data before any worker starts
    log.info("the best epoch of %s is selected by %s", name, score)
    kept = CheckpointConfig(num_to_keep=job.train.keep_checkpoints, checkpoint_score_attribute=score)
    trained = _best(_run(job, name, kept, callbacks), job.train, score)
    return _refitted(job, name, trained) if job.train.refit else trained


def _refitted(job: TrainJob, name: str, trained: Trained) -> Trained:
    """Train again with the validation videos, which are no longer needed to choose the number of epochs."""
    epochs = int(trained.metrics["epoch"]) + 1
    result = _run(replace(job, refit=epochs), f"{name}-refit", CheckpointConfig(num_to_keep=1))
    _outcome(result, job.train)
    assert result.checkpoint is not None, "every epoch reports a checkpoint"
    return replace(trained, checkpoint=result.checkpoint, refit=epochs)


def _run(job: TrainJob, name: str, kept: CheckpointConfig, callbacks: Sequence[UserCallback] = ()) -> Result:
    return run_loop(
        train_loop,
        job,
        job.train,
        (job.train.fewest_workers, job.train.most_workers),
        storage=job.storage,
        name=name,
        kept=kept,
        backend="gloo" if job.train.device == "cpu" else None,
        callbacks=callbacks,
    )


def _best(result: Result, config: TrainConfig, score: str) -> Trained:
    outcome = _outcome(result, config)
    checkpoint, metrics = max(result.best_checkpoints, key=lambda kept: kept[1][score])
    return Trained(checkpoint, checkpoint, metrics, outcome.epochs, score)


def _outcome(result: Result, config: TrainConfig) -> TrainingOutcome:
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
    return outcome

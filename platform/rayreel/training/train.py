"""Features become a tower: data-parallel training on a Ray cluster."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from ray.train import Checkpoint, CheckpointConfig, FailureConfig, Result, RunConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from rayreel.storage import Storage
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob, prepare
from rayreel.training.loop import TrainingOutcome, train_loop
from rayreel.training.progress import Diverged
from rayreel.training.scaling import scaling
from rayreel.training.validation import SCORE


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch of a run, chosen on validation, and how many epochs there were."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    epochs: int


def train(job: TrainJob, name: str, callbacks: Sequence[UserCallback] = ()) -> Trained:
    """Train on the running Ray cluster; checkpoints lie below the storage root under `checkpoints/name`.

    A name whose run was interrupted goes on from its latest checkpoint; one whose run had ended gives its result.
    Raises Diverged, naming the last good checkpoint, and RayreelError for what training could not start with.
    """
    prepare(job)  # what is wrong with the data is said here, before workers fail on it
    # Workers wait in every report until the controller polls them; epochs on features are shorter than its 2 s.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=job,
        # Unset, Ray takes NCCL wherever workers reserve GPUs.
        torch_config=TorchConfig(backend="gloo" if job.train.device == "cpu" else None),
        scaling_config=scaling(job.train, job.train.fewest_workers, job.train.most_workers),
        run_config=RunConfig(
            name=name,
            storage_path=Storage(job.storage).uri("checkpoints"),
            checkpoint_config=CheckpointConfig(
                num_to_keep=job.train.keep_checkpoints, checkpoint_score_attribute=SCORE
            ),
            failure_config=FailureConfig(max_failures=job.train.max_failures),
            callbacks=list(callbacks),
        ),
    )
    return _best(trainer.fit(), job.train)


def _best(result: Result, config: TrainConfig) -> Trained:
    outcome = result.return_value
    assert isinstance(outcome, TrainingOutcome), "a run that ends has an outcome"
    if outcome.diverged is not None:
        kept = (
            f"The last good checkpoint is {result.checkpoint.path}." if result.checkpoint else "It had no checkpoint."
        )
        raise Diverged(
            f"{outcome.diverged}. {kept} Lower the learning rate, such as --set "
            f"train.learning_rate={config.learning_rate / 3:.1g}, lengthen --set train.warmup=0.1, or compute in fp32 "
            "with --set train.precision=fp32."
        )
    checkpoint, metrics = max(result.best_checkpoints, key=lambda kept: kept[1][SCORE])
    return Trained(checkpoint, metrics, outcome.epochs)

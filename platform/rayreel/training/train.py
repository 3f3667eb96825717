"""Features become a tower: data-parallel training on a Ray cluster."""

import os
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import ray
from ray.train import Checkpoint, CheckpointConfig, FailureConfig, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchTrainer

from rayreel.errors import RayreelError
from rayreel.evaluation.splits import groups_of, split_groups
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.training.config import TrainConfig
from rayreel.training.loop import SCORE, TrainJob, train_loop, validation_task

_FEWEST = 8


@dataclass(frozen=True, slots=True)
class Trained:
    """The best epoch of a run, chosen on validation."""

    checkpoint: Checkpoint
    metrics: dict[str, Any]
    epochs: int


def train(job: TrainJob, name: str, callbacks: Sequence[UserCallback] = ()) -> Trained:
    """Train on the running Ray cluster; checkpoints lie below the storage root under `checkpoints/name`."""
    _check(job)
    # Workers wait in every report until the controller polls them; epochs on features are shorter than its 2 s.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    trainer = TorchTrainer(
        train_loop,
        train_loop_config=job,
        scaling_config=_scaling(job.train),
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
    result = trainer.fit()
    checkpoint, metrics = max(result.best_checkpoints, key=lambda kept: kept[1][SCORE])
    return Trained(checkpoint, metrics, job.train.epochs)


def _scaling(config: TrainConfig) -> ScalingConfig:
    use_gpu = config.use_gpu
    if use_gpu is None:
        use_gpu = ray.cluster_resources().get("GPU", 0) >= config.workers
    return ScalingConfig(
        num_workers=config.workers, use_gpu=use_gpu, resources_per_worker={"CPU": config.cpus_per_worker}
    )


def _check(job: TrainJob) -> None:
    """Say before the workers start what they would fail on."""
    matrix = FeatureMatrix.from_table(FeatureStore(Storage(job.storage), job.key).read())
    groups = groups_of(matrix, job.splits)
    split = split_groups(groups, job.splits)
    if len(split.train) < _FEWEST:
        raise RayreelError(
            f"{len(split.train)} videos for training, of {len(matrix)} in the feature store; at least {_FEWEST} are "
            "needed. Extract more videos, or hold out less: --set splits.test=0.1"
        )
    if len(validation_task(matrix, split, groups).queries) == 0:
        raise RayreelError(
            f"No epoch can be chosen: none of the {len(split.validation)} validation videos has a category that "
            "another video shares. Give the catalog a category column, or --set splits.validation=0.2"
        )

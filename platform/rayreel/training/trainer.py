"""Run a training loop on the workers of a Ray cluster."""

import os
from collections.abc import Callable, Sequence
from typing import Any

import ray
from ray.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from rayreel.storage import Storage
from rayreel.training.action.config import ActionConfig
from rayreel.training.config import TrainConfig


def run_loop(
    loop: Callable[[Any], object],
    job: object,
    config: TrainConfig | ActionConfig,
    workers: tuple[int, int],
    *,
    storage: str,
    name: str,
    kept: CheckpointConfig,
    backend: str | None = None,
    callbacks: Sequence[UserCallback] = (),
) -> Result:
    """Run `loop(job)` on fewest to most workers, with checkpoints in `checkpoints/name` below the storage root.

    An interrupted run of the same name continues from its latest checkpoint. `backend` is that of torch.distributed;
    None: NCCL when workers reserve GPUs, else Gloo. Requires a running Ray.
    """
    # Workers wait in every report until the controller polls; epochs on features are shorter than its 2 s interval.
    os.environ.setdefault("RAY_TRAIN_HEALTH_CHECK_INTERVAL_S", "0.2")
    trainer = TorchTrainer(
        loop,
        train_loop_config=job,
        torch_config=TorchConfig(backend=backend),
        scaling_config=_scaling(config, *workers),
        run_config=RunConfig(
            name=name,
            storage_path=Storage(storage).uri("checkpoints"),
            checkpoint_config=kept,
            failure_config=FailureConfig(max_failures=config.max_failures),
            callbacks=list(callbacks),
        ),
    )
    return trainer.fit()


def _scaling(config: TrainConfig | ActionConfig, fewest: int, most: int) -> ScalingConfig:
    """Workers get a GPU each if the configuration asks for it or, if unset, the cluster has one for each."""
    use_gpu = config.use_gpu
    if use_gpu is None:
        use_gpu = ray.cluster_resources().get("GPU", 0) >= fewest
    return ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": config.cpus_per_worker},
        label_selector=config.on or None,
    )

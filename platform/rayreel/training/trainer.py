"""Run a training loop on the workers of a Ray cluster."""

import logging
import os
from collections.abc import Callable, Sequence
from typing import Any

from ray.train import CheckpointConfig, FailureConfig, Result, RunConfig, ScalingConfig, UserCallback
from ray.train.torch import TorchConfig, TorchTrainer

from rayreel.placement import free_gpus
from rayreel.storage import Storage
from rayreel.training.action.config import ActionConfig
from rayreel.training.config import TrainConfig

log = logging.getLogger(__name__)


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
        scaling_config=_scaling(config, *on_gpus(config, *workers, int(free_gpus()))),
        run_config=RunConfig(
            name=name,
            storage_path=Storage(storage).uri("checkpoints"),
            checkpoint_config=kept,
            failure_config=FailureConfig(max_failures=config.max_failures),
            callbacks=list(callbacks),
        ),
    )
    return trainer.fit()


def on_gpus(config: TrainConfig | ActionConfig, fewest: int, most: int, free: int) -> tuple[int, int, bool]:
    """Return the workers, and whether each gets a GPU: if the configuration asks for it or, if unset, one is free.

    There are then as many workers as free GPUs at most: steps give the same for any number of workers, NCCL takes one
    worker per GPU, and one GPU is faster than all cores. GPUs that others hold, such as `rayreel serve`, do not count.
    """
    if config.use_gpu is True and free < fewest:
        log.warning("training waits for %d GPUs, one per worker: %d are free", fewest, free)
    if config.use_gpu is not None or not free:
        return fewest, most, bool(config.use_gpu)
    if free < fewest:
        log.info("%d workers instead of %d: as many as there are free GPUs", free, fewest)
    return min(fewest, free), min(most, free), True


def _scaling(config: TrainConfig | ActionConfig, fewest: int, most: int, use_gpu: bool) -> ScalingConfig:
    return ScalingConfig(
        num_workers=fewest if fewest == most else (fewest, most),
        use_gpu=use_gpu,
        resources_per_worker={"CPU": config.cpus_per_worker},
        label_selector=config.on or None,
    )

"""Reports of a training loop: metrics, and a checkpoint with the state needed to resume. Shared by all loops."""

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import ray.train
import torch

from rayreel.training.distributed import world

_STATE = "state.pt"


def report(metrics: dict[str, float], state: dict[str, Any], write: Callable[[Path], object] = lambda _: None) -> None:
    """Report from all workers, which also synchronises them. Only rank 0 adds the checkpoint.

    The checkpoint has `state`, and the files that `write` adds to its folder.
    """
    if world()[0] != 0:
        ray.train.report(metrics)
        return
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        torch.save(state, Path(folder) / _STATE)
        ray.train.report(metrics, checkpoint=ray.train.Checkpoint.from_directory(folder))


def latest_state() -> dict[str, Any] | None:
    """Load the state of this run's latest checkpoint, on the CPU; None if there is no checkpoint yet."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / _STATE, map_location="cpu", weights_only=True)
    return state

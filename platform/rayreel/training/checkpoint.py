"""Checkpoints: the tower, ready to embed, and the state needed to resume training."""

import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import ray.train
import torch

from rayreel.tower.save import save_tower
from rayreel.training.progress import Progress
from rayreel.training.step import Learner

_STATE = "state.pt"


@contextmanager
def saved(learner: Learner, progress: Progress, extra: dict[str, Any]) -> Iterator[ray.train.Checkpoint]:
    """Write a checkpoint to a temporary folder; report it before the block ends."""
    with tempfile.TemporaryDirectory() as folder:
        save_tower(learner.tower, Path(folder))
        state = {"learner": learner.state(), "progress": progress.state(), **extra}
        torch.save(state, Path(folder) / _STATE)
        yield ray.train.Checkpoint.from_directory(folder)


def latest_state() -> dict[str, Any] | None:
    """Load the state of this run's latest checkpoint, on the CPU; None if there is no checkpoint yet."""
    checkpoint = ray.train.get_checkpoint()
    if checkpoint is None:
        return None
    with checkpoint.as_directory() as folder:
        state: dict[str, Any] = torch.load(Path(folder) / _STATE, map_location="cpu", weights_only=True)
    return state

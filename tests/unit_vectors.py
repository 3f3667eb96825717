"""Vectors and batches of pairs for tests of losses."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.global_batch import GlobalBatch


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Return random unit vectors."""
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def at(*degrees: float) -> Tensor:
    """Return unit vectors in the plane at these angles, with known cosines."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def videos(*ids: int) -> GlobalBatch:
    """Return a batch with two views of each video."""
    return GlobalBatch.of_one(torch.tensor(ids))

"""Vectors and batches of pairs for the tests of losses."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.global_batch import GlobalBatch


def unit(*shape: int, seed: int = 0) -> Tensor:
    """Random unit vectors."""
    return F.normalize(torch.randn(*shape, generator=torch.Generator().manual_seed(seed)), dim=-1)


def at(*degrees: float) -> Tensor:
    """Unit vectors in the plane at these angles: their cosines can be worked out by hand."""
    angle = torch.tensor(degrees).deg2rad()
    return torch.stack([angle.cos(), angle.sin()], dim=1)


def videos(*ids: int) -> GlobalBatch:
    """Two views each of these videos."""
    return GlobalBatch.of_one(torch.tensor(ids))

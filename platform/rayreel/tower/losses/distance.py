"""Distances between unit vectors."""

import torch
from torch import Tensor

from rayreel.tower.losses.candidates import Candidates
from rayreel.tower.losses.config import Distance

_NEAREST = 1e-3


def distances(held: Candidates, kind: Distance) -> Tensor:
    """[B, C]: 1 - cosine, or Euclidean, of each row to each candidate. Two equal vectors get no gradient."""
    cosine_BC = held.x_BD @ held.y_CD.T
    if kind == "cosine":
        return 1 - cosine_BC
    # Products are 15 times as fast as differences, but rounding makes noise of the gradient between nearly equal
    # vectors. Partners come that near, and there are few of them.
    partner_B = torch.linalg.vector_norm(held.x_BD - held.partner_BD, dim=1)
    return torch.where(held.own_BC, partner_B.unsqueeze(1), (2 - 2 * cosine_BC).clamp(min=_NEAREST**2).sqrt())

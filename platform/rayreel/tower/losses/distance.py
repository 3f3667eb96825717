"""Distances between unit vectors."""

import torch
from torch import Tensor

from rayreel.tower.losses.candidates import ContrastCandidates
from rayreel.tower.losses.config import Distance

_MIN_DISTANCE = 1e-3


def distances(candidates: ContrastCandidates, kind: Distance) -> Tensor:
    """Return the distances [B, C] of each row to each candidate: 1 - cosine, or Euclidean.

    The gradient of two equal vectors is zero.
    """
    cosine_BC = candidates.x_BD @ candidates.y_CD.T
    if kind == "cosine":
        return 1 - cosine_BC
    # Products are 15 times as fast as differences, but between nearly equal vectors rounding turns the gradient into
    # noise. Only partners come that close, and they are few, so their distances are computed from differences.
    partner_B = torch.linalg.vector_norm(candidates.x_BD - candidates.partner_BD, dim=1)
    return torch.where(
        candidates.positive_BC, partner_B.unsqueeze(1), (2 - 2 * cosine_BC).clamp(min=_MIN_DISTANCE**2).sqrt()
    )

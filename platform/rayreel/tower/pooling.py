"""Pooling: reduce the vectors of one modality to one; zero for a video without vectors, which fusion then masks.

All poolings take x_BND (batch, vectors, dim) and mask_BN (bool), and return pooled_BD.
"""

import torch
from torch import Tensor, nn


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Return the mean over the valid vectors."""
    sum_BD = torch.einsum("bn,bnd->bd", mask_BN.to(x_BND.dtype), x_BND)
    return sum_BD / mask_BN.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Return the largest value of each feature over the valid vectors."""
    largest_BD = x_BND.masked_fill(~mask_BN.unsqueeze(-1), -torch.inf).amax(dim=1)
    return largest_BD.masked_fill(~mask_BN.any(dim=1, keepdim=True), 0)


class AttentionPooling(nn.Module):
    """Mean over the valid vectors, softmax-weighted by a network that scores each vector separately.

    Initially the plain mean. Source: Ilse et al. 2018, Attention-based Deep Multiple Instance Learning.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.score = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), last)

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Return pooled_BD."""
        return torch.einsum("bn,bnd->bd", self.weights(x_BND, mask_BN), x_BND)

    def weights(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """[B, N]: weight of each vector; rows sum to 1, or to 0 for videos without vectors."""
        score_BN: Tensor = self.score(x_BND).squeeze(-1)
        # Not -inf: the softmax of a video without vectors and its gradient must stay finite.
        score_BN = score_BN.masked_fill(~mask_BN, torch.finfo(score_BN.dtype).min)
        return score_BN.softmax(dim=1) * mask_BN

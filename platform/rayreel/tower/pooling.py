"""Pooling: many vectors of one modality in, one out; zero where there are none, which fusion then leaves out.

All take x_BND (batch, vectors, dim) and mask_BN (bool), and give pooled_BD.
"""

import torch
from torch import Tensor, nn


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Mean over the vectors that are there."""
    sum_BD = torch.einsum("bn,bnd->bd", mask_BN.to(x_BND.dtype), x_BND)
    return sum_BD / mask_BN.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Largest value of each feature among the vectors that are there."""
    largest_BD = x_BND.masked_fill(~mask_BN.unsqueeze(-1), -torch.inf).amax(dim=1)
    return largest_BD.masked_fill(~mask_BN.any(dim=1, keepdim=True), 0)


class AttentionPooling(nn.Module):
    """Softmax-weighted mean over the vectors that are there, weighted by a network that sees one vector at a time.

    Before training it is the mean. Source: Ilse et al. 2018, Attention-based Deep Multiple Instance Learning.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.score = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), last)

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Pool."""
        return torch.einsum("bn,bnd->bd", self.weights(x_BND, mask_BN), x_BND)

    def weights(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """[B, N]: how much each vector counts; rows sum to 1, those of videos without vectors to 0."""
        score_BN: Tensor = self.score(x_BND).squeeze(-1)
        # No infinity: the softmax of a video without vectors must stay finite, and so must its gradient.
        score_BN = score_BN.masked_fill(~mask_BN, torch.finfo(score_BN.dtype).min)
        return score_BN.softmax(dim=1) * mask_BN

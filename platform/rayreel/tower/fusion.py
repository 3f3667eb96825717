"""Fusion: one vector per modality in, one vector per video out.

All fusions take x_BMD (batch, modality, dim) and present_BM (bool), and return fused_BD. Every row needs at least one
present modality; values at absent modalities never change the result. Initially each fusion is a sum of the present
modalities, weighted by a prior renormalised over them: random weights would start below the unfused features.
"""

from collections.abc import Sequence

import torch
from torch import Tensor, nn
from torch.nn import functional as F


class GatedFusion(nn.Module):
    """Sum of modality vectors, softmax-weighted by a network that sees all of them.

    Source: Arevalo et al. 2017, Gated Multimodal Units.
    """

    def __init__(self, modalities: int, dim: int, hidden: int = 256, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        last = nn.Linear(hidden, modalities)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(_log_prior(modalities, prior))
        self.gate = nn.Sequential(nn.Linear(modalities * dim, hidden), nn.GELU(), last)

    def forward(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """Return fused_BD."""
        return _weighted_sum(x_BMD, self.weights(x_BMD, present_BM))

    def weights(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """[B, M]: weight of each modality; rows sum to 1, absent modalities get 0."""
        return _masked_softmax(self.gate(_mask_absent(x_BMD, present_BM).flatten(1)), present_BM)


class ConcatFusion(nn.Module):
    """A network on the concatenated modalities, added to their sum with learnable weights.

    Unlike a gate it can model interactions between modalities; absent ones are zero. The residual connection
    (He et al. 2016) makes training start from the weighted sum.
    """

    def __init__(self, modalities: int, dim: int, hidden: int = 256, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        self.log_share = nn.Parameter(_log_prior(modalities, prior))
        last = nn.Linear(hidden, dim, bias=False)
        nn.init.zeros_(last.weight)
        self.joint = nn.Sequential(nn.Linear(modalities * dim, hidden), nn.GELU(), last)

    def forward(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """Return fused_BD."""
        x_BMD = _mask_absent(x_BMD, present_BM)
        weight_BM = _masked_softmax(self.log_share.expand(present_BM.shape), present_BM)
        joint_BD: Tensor = self.joint(x_BMD.flatten(1))
        return _weighted_sum(x_BMD, weight_BM) + joint_BD


class AttentionFusion(nn.Module):
    """Self-attention over one token per modality, then a softmax-weighted sum of the attended tokens.

    One pre-norm block of multi-head attention (Vaswani et al. 2017) with a learned modality embedding added to each
    token. Absent modalities are masked as keys and have weight zero in the sum.
    """

    def __init__(self, modalities: int, dim: int, heads: int = 4, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        self.modality = nn.Parameter(0.02 * torch.randn(modalities, dim))
        self.norm = nn.LayerNorm(dim)
        self.attention = nn.MultiheadAttention(dim, heads, batch_first=True)
        self.score = nn.Linear(dim, 1, bias=False)
        self.log_share = nn.Parameter(_log_prior(modalities, prior))
        nn.init.zeros_(self.attention.out_proj.weight)
        nn.init.zeros_(self.score.weight)

    def forward(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """Return fused_BD."""
        attended_BMD = self._attend(x_BMD, present_BM)
        return _weighted_sum(attended_BMD, self._weights(attended_BMD, present_BM))

    def weights(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """[B, M]: weight of each modality; rows sum to 1, absent modalities get 0."""
        return self._weights(self._attend(x_BMD, present_BM), present_BM)

    def _attend(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        token_BMD = self.norm(x_BMD) + self.modality
        update_BMD, _ = self.attention(token_BMD, token_BMD, token_BMD, ~present_BM, need_weights=False)
        attended_BMD: Tensor = x_BMD + update_BMD
        return attended_BMD

    def _weights(self, attended_BMD: Tensor, present_BM: Tensor) -> Tensor:
        return _masked_softmax(self.score(attended_BMD).squeeze(-1) + self.log_share, present_BM)


def _log_prior(modalities: int, prior: Sequence[float] | None) -> Tensor:
    return torch.tensor(prior or [1.0] * modalities).log()


def _mask_absent(x_BMD: Tensor, present_BM: Tensor) -> Tensor:
    return x_BMD * present_BM.unsqueeze(-1)


def _masked_softmax(logits_BM: Tensor, present_BM: Tensor) -> Tensor:
    return F.softmax(logits_BM.masked_fill(~present_BM, -torch.inf), dim=-1)


def _weighted_sum(x_BMD: Tensor, weight_BM: Tensor) -> Tensor:
    return torch.einsum("bm,bmd->bd", weight_BM, x_BMD)

"""Fusion: one vector per modality in, one vector per video out.

All fusions take x_BMD (batch, modality, dim) and present_BM (bool), and give fused_BD. Every row needs at least one
present modality; what stands in the place of an absent one never moves the result. Before training each of them is
the sum of the modalities weighted by a prior, shared among those present: a random mixture would be worse than none.
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
        """Fuse."""
        return _weighted(x_BMD, self.shares(x_BMD, present_BM))

    def shares(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """[B, M]: how much each modality counts; rows sum to 1, absent modalities have none."""
        return _softmax(self.gate(_blanked(x_BMD, present_BM).flatten(1)), present_BM)


class ConcatFusion(nn.Module):
    """A network on the concatenated modalities, added to their sum by learnable shares.

    Unlike a gate it can answer to what modalities say together; a zero stands for an absent one. The shortcut is He
    et al. 2016's, so that training starts from the weighted sum.
    """

    def __init__(self, modalities: int, dim: int, hidden: int = 256, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        self.log_share = nn.Parameter(_log_prior(modalities, prior))
        last = nn.Linear(hidden, dim, bias=False)
        nn.init.zeros_(last.weight)
        self.joint = nn.Sequential(nn.Linear(modalities * dim, hidden), nn.GELU(), last)

    def forward(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """Fuse."""
        x_BMD = _blanked(x_BMD, present_BM)
        share_BM = _softmax(self.log_share.expand(present_BM.shape), present_BM)
        joint_BD: Tensor = self.joint(x_BMD.flatten(1))
        return _weighted(x_BMD, share_BM) + joint_BD


class AttentionFusion(nn.Module):
    """Modalities as tokens that attend to each other, then their sum, softmax-weighted by what became of them.

    One pre-norm block of multi-head attention (Vaswani et al. 2017), a learned vector of its modality added to each
    token. Absent modalities are masked as keys and get no share of the sum.
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
        """Fuse."""
        attended_BMD = self._attend(x_BMD, present_BM)
        return _weighted(attended_BMD, self._shares(attended_BMD, present_BM))

    def shares(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        """[B, M]: how much each modality counts; rows sum to 1, absent modalities have none."""
        return self._shares(self._attend(x_BMD, present_BM), present_BM)

    def _attend(self, x_BMD: Tensor, present_BM: Tensor) -> Tensor:
        token_BMD = self.norm(x_BMD) + self.modality
        moved_BMD, _ = self.attention(token_BMD, token_BMD, token_BMD, ~present_BM, need_weights=False)
        attended_BMD: Tensor = x_BMD + moved_BMD
        return attended_BMD

    def _shares(self, attended_BMD: Tensor, present_BM: Tensor) -> Tensor:
        return _softmax(self.score(attended_BMD).squeeze(-1) + self.log_share, present_BM)


def _log_prior(modalities: int, prior: Sequence[float] | None) -> Tensor:
    return torch.tensor(prior or [1.0] * modalities).log()


def _blanked(x_BMD: Tensor, present_BM: Tensor) -> Tensor:
    return x_BMD * present_BM.unsqueeze(-1)


def _softmax(logits_BM: Tensor, present_BM: Tensor) -> Tensor:
    return F.softmax(logits_BM.masked_fill(~present_BM, -torch.inf), dim=-1)


def _weighted(x_BMD: Tensor, share_BM: Tensor) -> Tensor:
    return torch.einsum("bm,bmd->bd", share_BM, x_BMD)

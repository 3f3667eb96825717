"""Fusion: one vector per modality in, one vector per video out."""

from collections.abc import Sequence

import torch
from torch import Tensor, nn


class GatedFusion(nn.Module):
    """Softmax-weighted sum of modality vectors; absent modalities get weight zero.

    Shapes: x_BMD (batch, modality, dim), present_BM (bool) -> fused_BD and gate_BM, whose rows sum to 1.
    Every row needs at least one present modality. Source: Arevalo et al. 2017, Gated Multimodal Units.
    Before training the gate is `prior`, whatever the input: a random gate would mix modalities at random.
    """

    def __init__(self, modalities: int, dim: int, hidden: int = 256, prior: Sequence[float] | None = None) -> None:
        super().__init__()
        last = nn.Linear(hidden, modalities)
        nn.init.zeros_(last.weight)
        with torch.no_grad():
            last.bias.copy_(torch.tensor(prior or [1.0] * modalities).log())
        self.gate = nn.Sequential(nn.Linear(modalities * dim, hidden), nn.GELU(), last)

    def forward(self, x_BMD: Tensor, present_BM: Tensor) -> tuple[Tensor, Tensor]:
        """Fuse; returns the fused vectors and the gate, which tells how much each modality counted."""
        x_BMD = x_BMD * present_BM.unsqueeze(-1)
        logits_BM = self.gate(x_BMD.flatten(1)).masked_fill(~present_BM, -torch.inf)
        gate_BM = logits_BM.softmax(dim=-1)
        return torch.einsum("bm,bmd->bd", gate_BM, x_BMD), gate_BM

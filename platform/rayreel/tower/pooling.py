"""Pooling: many vectors of one modality in, one out."""

from torch import Tensor


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Mean over the vectors that are there -> [B, D]; zero where there are none, which fusion then leaves out."""
    weight_BN1 = mask_BN.unsqueeze(-1).to(x_BND.dtype)
    return (x_BND * weight_BN1).sum(dim=1) / weight_BN1.sum(dim=1).clamp(min=1)

"""Standardisation: scale frozen features to zero mean and unit standard deviation over the training videos."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_CLIP = 10.0
_MIN_SPREAD = 0.01  # as a share of the mean spread


class Standardise(nn.Module):
    """(x - mean) / spread, per feature, with the training videos' statistics as buffers.

    Frozen features lie in a narrow cone, so the cosine of any two videos is high. Subtracting the mean makes cosines
    discriminative.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        self.mean: Tensor
        self.spread: Tensor

    def fit(self, vectors_ND: NDArray[np.float16]) -> None:
        """Store the statistics of these vectors. An empty array changes nothing."""
        if len(vectors_ND) == 0:
            return
        vectors = torch.from_numpy(vectors_ND).float()
        spread = vectors.std(dim=0, unbiased=False)
        self.mean.copy_(vectors.mean(dim=0))
        # A feature that is constant in training must not explode on the first video in which it differs.
        self.spread.copy_(spread.clamp(min=max(float(spread.mean()) * _MIN_SPREAD, 1e-6)))

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x [..., D], clipped so that a query far from the training data still gives a usable vector."""
        # In place: allocating memory for each operation takes three times as long as the arithmetic.
        return (x - self.mean).div_(self.spread).clamp_(-_CLIP, _CLIP)

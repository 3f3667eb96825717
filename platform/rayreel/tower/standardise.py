"""Standardising: frozen features to zero mean and unit spread, as seen in training."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

_FAR = 10.0
_FLOOR = 0.01


class Standardise(nn.Module):
    """(x - mean) / spread, per feature, with the training videos' statistics as buffers.

    Frozen features lie in a narrow cone: any two videos have a high cosine. Moving the cone's axis to zero is what
    makes cosines tell videos apart.
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        self.mean: Tensor
        self.spread: Tensor

    def fit(self, vectors_ND: NDArray[np.float16]) -> None:
        """Take the statistics of these vectors; none leave everything as it is."""
        if len(vectors_ND) == 0:
            return
        vectors = torch.from_numpy(vectors_ND).float()
        spread = vectors.std(dim=0, unbiased=False)
        self.mean.copy_(vectors.mean(dim=0))
        # Features that never vary in training must not blow up on the first video in which they do.
        self.spread.copy_(spread.clamp(min=max(float(spread.mean()) * _FLOOR, 1e-6)))

    def forward(self, x: Tensor) -> Tensor:
        """[…, D] -> [D], bounded, so that a query unlike anything seen before still gives a usable vector."""
        # In place: new memory for each operation would cost three times as much as the arithmetic.
        return (x - self.mean).div_(self.spread).clamp_(-_FAR, _FAR)

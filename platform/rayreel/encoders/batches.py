"""Run an encoder over any number of inputs, a bounded number at a time."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.encoders.encoder import Vectors


def encode_batches(inputs: NDArray[Any] | list[Any], batch: int, dim: int, encode: Callable[[Any], Tensor]) -> Vectors:
    """Apply `encode` (up to `batch` inputs to [B, dim]) to slices of `inputs`; returns [N, dim] in input order.

    An `encode` that takes an array copies it in C order before torch sees it: Ray hands out read-only arrays, and torch
    refuses negative strides.
    """
    out_ND = np.empty((len(inputs), dim), dtype=np.float32)
    with torch.inference_mode():
        for start in range(0, len(inputs), batch):
            out_ND[start : start + batch] = encode(inputs[start : start + batch]).float().cpu().numpy()
    return out_ND

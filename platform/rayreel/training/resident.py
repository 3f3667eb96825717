"""Features that stay on a GPU for a whole training, so that a step sends it row numbers only."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix, Ragged
from rayreel.tower.batch import FeatureBatch

# The rest is for the steps, whose views are in float32.
_MEMORY_SHARE = 0.5
_ROWS_AT_ONCE = 1 << 16


@dataclass(frozen=True, slots=True)
class ResidentFeatures:
    """The vectors of a matrix on a device, [sum + 1, D] float16 per modality; the last one is zero, for padding."""

    matrix: FeatureMatrix
    values: dict[Modality, Tensor]

    @staticmethod
    def of(matrix: FeatureMatrix, device: torch.device) -> "ResidentFeatures | None":
        """Copy the vectors to a CUDA device; None on other devices, and if they take over half of its free memory."""
        if device.type != "cuda" or _bytes(matrix) > torch.cuda.mem_get_info(device)[0] * _MEMORY_SHARE:
            return None
        return ResidentFeatures.on(matrix, device)

    @staticmethod
    def on(matrix: FeatureMatrix, device: torch.device) -> "ResidentFeatures":
        """Copy the vectors to a device."""
        return ResidentFeatures(matrix, {m: _copied(vectors, device) for m, vectors in matrix.vectors.items()})

    def collate(self, rows: NDArray[np.int64]) -> FeatureBatch:
        """Return what `rayreel.tower.embed.collate` does, on the device."""
        vectors, masks = {}, {}
        for modality, values in self.values.items():
            offsets = self.matrix.vectors[modality].offsets
            counts_B = offsets[rows + 1] - offsets[rows]
            mask_BN = np.arange(max(1, int(counts_B.max(initial=0)))) < counts_B[:, None]
            source_BN = np.where(mask_BN, offsets[rows][:, None] + np.arange(mask_BN.shape[1]), len(values) - 1)
            vectors[modality] = values[sent(source_BN, values.device)].float()
            masks[modality] = sent(mask_BN, values.device)
        return FeatureBatch(vectors, masks, sent(rows, next(iter(self.values.values())).device))


def sent(x: NDArray[np.generic], device: torch.device) -> Tensor:
    """Copy an array to a device, without waiting for the device's work."""
    tensor = torch.from_numpy(x)
    return tensor.pin_memory().to(device, non_blocking=True) if device.type == "cuda" else tensor.to(device)


def _bytes(matrix: FeatureMatrix) -> int:
    return sum(vectors.values.nbytes for vectors in matrix.vectors.values())


def _copied(vectors: Ragged, device: torch.device) -> Tensor:
    count, dim = vectors.values.shape
    copy = torch.zeros((count + 1, dim), dtype=torch.float16, device=device)
    for start in range(0, count, _ROWS_AT_ONCE):  # a mapped file is larger than memory
        part = vectors.values[start : start + _ROWS_AT_ONCE].copy()
        copy[start : start + len(part)] = torch.from_numpy(part).to(device)
    return copy

"""A tower's input: for each modality, feature vectors per video and a mask of the valid ones."""

from dataclasses import dataclass, field

import torch
from torch import Tensor

from rayreel.encoders.encoder import Modality


@dataclass(frozen=True, slots=True)
class FeatureBatch:
    """B videos. vectors[m]: [B, N_m, D_m] float; mask[m]: [B, N_m] bool, False for padding and absent modalities.

    ids_B: video of each row; -1 marks a filler row, which every loss ignores.
    """

    vectors: dict[Modality, Tensor]
    mask: dict[Modality, Tensor]
    ids_B: Tensor = field(default_factory=lambda: torch.empty(0, dtype=torch.long))

    def present_BM(self) -> Tensor:
        """[B, 3] bool: which modalities each video has, in the order of `Modality`."""
        return torch.stack([self.mask[modality].any(dim=1) for modality in Modality], dim=1)

    def to(self, device: torch.device) -> "FeatureBatch":
        """Copy the batch to another device."""
        return FeatureBatch(
            {modality: x.to(device, non_blocking=True) for modality, x in self.vectors.items()},
            {modality: x.to(device, non_blocking=True) for modality, x in self.mask.items()},
            self.ids_B.to(device, non_blocking=True),
        )

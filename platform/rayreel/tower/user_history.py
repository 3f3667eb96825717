"""A batch of watch histories, as the user tower reads them."""

from dataclasses import dataclass

import torch
from torch import Tensor

# Weights of a history below the first are glimpses, above the second likes.
KINDS = (0.5, 1.5)


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """B histories of up to L videos, newest first, padded at the end.

    rows_BL: rows of an item table; -1 is padding. weights_BL: 1 for a video that was watched to its end, 0 for one that
    was not liked, which the mean leaves out. ages_BL: seconds before the newest, 0 if unknown.
    """

    rows_BL: Tensor
    weights_BL: Tensor
    ages_BL: Tensor

    def newest(self, count: int) -> "HistoryBatch":
        """Return the newest videos of each history."""
        return HistoryBatch(self.rows_BL[:, :count], self.weights_BL[:, :count], self.ages_BL[:, :count])

    @property
    def present_BL(self) -> Tensor:
        """[B, L] bool: what is not padding."""
        return self.rows_BL >= 0

    @property
    def kinds_BL(self) -> Tensor:
        """[B, L]: 0 for glimpses, 1 for views, 2 for likes."""
        return torch.bucketize(self.weights_BL.contiguous(), torch.tensor(KINDS, device=self.weights_BL.device))

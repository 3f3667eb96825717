"""The global batch: video ids and relations of all workers' pairs, which a loss needs besides the embeddings."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FILLER = -1

Gather = Callable[[Tensor], Tensor]
"""Concatenates every worker's tensor along dim 0, in rank order; gradients flow to all workers."""

Relation = Callable[[Tensor, Tensor], Tensor]
"""Video ids [X] and [Y] -> [X, Y] bool."""


def identity(x: Tensor) -> Tensor:
    """Return x unchanged: the gather of a single process."""
    return x


def same_video(ids_X: Tensor, ids_Y: Tensor) -> Tensor:
    """Return where two ids are the same video: the default of `alike`."""
    return ids_X.unsqueeze(1) == ids_Y.unsqueeze(0)


@dataclass(frozen=True, slots=True)
class GlobalBatch:
    """The J pairs (a_j, b_j) of one step over all workers, in the order of a gather.

    a_ids_J, b_ids_J: the video of each view (equal for two views of one video); FILLER for padding rows, which every
    loss ignores. This worker's own pairs are the rows first .. first + count.
    negative_ids_K: the videos of all workers' K explicit negatives, padded with FILLER; None if there are none.
    alike: which videos are positives and therefore never negatives of each other; true for a video and itself.
    distinct: which videos may be negatives of each other; None: all that are not alike.
    log_q_J: log probability of drawing b_j as a partner, for the logQ correction; None: no correction.
    """

    a_ids_J: Tensor
    b_ids_J: Tensor
    first: int
    count: int
    alike: Relation = same_video
    distinct: Relation | None = None
    log_q_J: Tensor | None = None
    negative_ids_K: Tensor | None = None

    @staticmethod
    def of_one(ids_B: Tensor) -> "GlobalBatch":
        """Return the batch of a single process with two views of each of these videos."""
        return GlobalBatch(ids_B, ids_B, 0, len(ids_B))

    @property
    def own(self) -> slice:
        """This worker's rows of the global batch."""
        return slice(self.first, self.first + self.count)

    @property
    def real_J(self) -> Tensor:
        """[J] bool: rows that are not filler."""
        return self.a_ids_J != FILLER

    def excluded_negatives(self, ids_X: Tensor, ids_Y: Tensor) -> Tensor:
        """[X, Y] bool: pairs that must not be used as negatives."""
        excluded_XY = self.alike(ids_X, ids_Y) | (ids_Y == FILLER).unsqueeze(0)
        return excluded_XY if self.distinct is None else excluded_XY | ~self.distinct(ids_X, ids_Y)

    def to(self, device: torch.device) -> "GlobalBatch":
        """Copy to another device. The relations must accept tensors on any device."""
        return GlobalBatch(
            self.a_ids_J.to(device),
            self.b_ids_J.to(device),
            self.first,
            self.count,
            self.alike,
            self.distinct,
            None if self.log_q_J is None else self.log_q_J.to(device),
            None if self.negative_ids_K is None else self.negative_ids_K.to(device),
        )

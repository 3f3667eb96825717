"""What a loss has to know of a step besides the embeddings: who is who in the batches of all workers joined."""

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

FILLER = -1

Gather = Callable[[Tensor], Tensor]
"""Concatenates a tensor of every worker along dim 0, in rank order, letting gradients through to all of them."""

Relation = Callable[[Tensor, Tensor], Tensor]
"""Video ids [X] and [Y] -> [X, Y] bool."""


def alone(x: Tensor) -> Tensor:
    """The gather of a single process."""
    return x


def same_video(ids_X: Tensor, ids_Y: Tensor) -> Tensor:
    """The plainest `alike`: a video is like itself."""
    return ids_X.unsqueeze(1) == ids_Y.unsqueeze(0)


@dataclass(frozen=True, slots=True)
class Joined:
    """The pairs (a_j, b_j) of one step over all workers, J of them in the order a gather brings them.

    a_ids_J, b_ids_J: the video of each view (equal for two views of one video), FILLER for rows that fill up a short
    batch and count for nothing. This worker's own pairs are first .. first + count.
    negative_ids_K: the videos of explicit negatives of all workers, K of them, FILLER likewise; empty without any.
    alike: which videos belong together and are never negatives of each other; true for a video and itself.
    distinct: which videos may be negatives of each other at all; None: all that are not alike.
    log_q_J: log probability with which b_j came into the batch, for the logQ correction; None: no correction.
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
    def of_one(ids_B: Tensor) -> "Joined":
        """A single process with two views of each of these videos."""
        return Joined(ids_B, ids_B, 0, len(ids_B))

    @property
    def own(self) -> slice:
        """This worker's rows of the joined batch."""
        return slice(self.first, self.first + self.count)

    @property
    def real_J(self) -> Tensor:
        """[J] bool: rows that are no filler."""
        return self.a_ids_J != FILLER

    def barred(self, ids_X: Tensor, ids_Y: Tensor) -> Tensor:
        """[X, Y] bool: pairs that must not count as negatives."""
        barred_XY = self.alike(ids_X, ids_Y) | (ids_Y == FILLER).unsqueeze(0)
        return barred_XY if self.distinct is None else barred_XY | ~self.distinct(ids_X, ids_Y)

    def to(self, device: torch.device) -> "Joined":
        """The same on another device; the relations must take tensors of any device."""
        return Joined(
            self.a_ids_J.to(device),
            self.b_ids_J.to(device),
            self.first,
            self.count,
            self.alike,
            self.distinct,
            None if self.log_q_J is None else self.log_q_J.to(device),
            None if self.negative_ids_K is None else self.negative_ids_K.to(device),
        )

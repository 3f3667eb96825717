"""The form that all losses have."""

import torch
from torch import Tensor, nn

from rayreel.tower.losses.joined import Gather, Joined, alone


class PairLoss(nn.Module):
    """A loss over the pairs (a_i, b_i) of all workers, of which each worker computes its share.

    Shapes: a_BD, b_BD unit vectors of this worker's pairs, the rows `joined.own`; negatives_ED unit vectors of its
    explicit negatives, as many on every worker. Returns a scalar. Summed over workers, the returned values are the
    loss of one process on the joined batch; where `gather` lets gradients through to all workers, the gradients of
    each parameter summed over workers are those of that process. Rows of FILLER count for nothing, and a batch that
    has nothing to teach gives a zero that still back-propagates. Computed in float32 whatever comes in.
    """

    def forward(
        self,
        a_BD: Tensor,
        b_BD: Tensor,
        joined: Joined,
        gather: Gather = alone,
        negatives_ED: Tensor | None = None,
    ) -> Tensor:
        """This worker's share. Every worker must call it in every step: `gather` waits for all."""
        with torch.autocast(a_BD.device.type, enabled=False):
            negatives_ED = None if negatives_ED is None else negatives_ED.float()
            return self.share(a_BD.float(), b_BD.float(), joined, gather, negatives_ED)

    def share(self, a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None) -> Tensor:
        """What each loss defines: its share, from float32 and outside of any autocast."""
        raise NotImplementedError

    @property
    def temperature(self) -> float | None:
        """The temperature now in force; None for a loss without one."""
        return None

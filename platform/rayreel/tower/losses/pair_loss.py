"""The base class of all losses."""

import torch
from torch import Tensor, nn

from rayreel.tower.losses.global_batch import Gather, GlobalBatch, identity


class PairLoss(nn.Module):
    """A loss over the pairs (a_i, b_i) of all workers; each worker computes its share.

    Shapes: a_BD, b_BD unit vectors of this worker's pairs, the rows `batch.own`; negatives_ED unit vectors of its
    explicit negatives, equally many on every worker. Returns a scalar. The sum of the returned values over workers is
    the loss of one process on the global batch. If `gather` passes gradients to all workers, the sum of each
    parameter's gradients over workers is the gradient of that process. FILLER rows are ignored. A batch without
    anything to learn gives a zero that still has a gradient. Computed in float32 for any input type.
    """

    def forward(
        self,
        a_BD: Tensor,
        b_BD: Tensor,
        batch: GlobalBatch,
        gather: Gather = identity,
        negatives_ED: Tensor | None = None,
    ) -> Tensor:
        """Return this worker's share. Every worker must call it in every step, because `gather` waits for all."""
        with torch.autocast(a_BD.device.type, enabled=False):
            negatives_ED = None if negatives_ED is None else negatives_ED.float()
            return self.share(a_BD.float(), b_BD.float(), batch, gather, negatives_ED)

    def share(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None
    ) -> Tensor:
        """Compute this worker's share from float32 inputs with autocast off. Implemented by each loss."""
        raise NotImplementedError

    @property
    def temperature(self) -> float | None:
        """The current temperature; None for a loss without one."""
        return None

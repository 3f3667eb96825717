"""Losses: what makes two views of one video lie close and two videos lie apart."""

from collections.abc import Callable

import torch
from torch import Tensor, nn
from torch.nn import functional as F

Gather = Callable[[Tensor], Tensor]
"""Concatenates a tensor of every worker along dim 0, in rank order, letting gradients through to all of them."""

FILLER = -1


def alone(x: Tensor) -> Tensor:
    """The gather of a single process."""
    return x


class InfoNCE(nn.Module):
    """Symmetric InfoNCE with learnable temperature and the negatives of all workers.

    Shapes: a_BD, b_BD unit vectors of this worker, where a_BD[i] and b_BD[i] are two views of the video ids_B[i].
    Other rows of the same id are no negatives; rows of id -1 fill up a short batch and count for nothing.
    The loss is this worker's share times the number of workers, so that averaging gradients over workers (DDP) gives
    exactly the gradient of one process on the joined batch.
    Source: van den Oord et al. 2018; symmetric form and temperature as in Radford et al. 2021 (CLIP).
    """

    def __init__(self, temperature: float = 0.07, max_scale: float = 100.0) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0 / temperature).log())
        self.max_scale = max_scale

    def forward(
        self, a_BD: Tensor, b_BD: Tensor, ids_B: Tensor, gather: Gather = alone, *, rank: int = 0, workers: int = 1
    ) -> Tensor:
        """The scalar loss. `gather` must bring batches of one size from each worker."""
        all_ids = gather(ids_B)
        scale = self.log_scale.exp().clamp(max=self.max_scale)
        target_B = torch.arange(len(ids_B), device=ids_B.device) + rank * len(ids_B)
        own = F.one_hot(target_B, len(all_ids)).bool()
        barred = ((all_ids == ids_B.unsqueeze(1)) | (all_ids == FILLER)) & ~own
        losses = [
            F.cross_entropy((scale * x_BD @ gather(y_BD).T).masked_fill(barred, -torch.inf), target_B, reduction="none")
            for x_BD, y_BD in ((a_BD, b_BD), (b_BD, a_BD))
        ]
        real_B = (ids_B != FILLER).to(a_BD.dtype)
        share = workers / (all_ids != FILLER).sum()
        return sum(((loss * real_B).sum() for loss in losses), start=a_BD.new_zeros(())) * share / 2

    @property
    def temperature(self) -> float:
        """The temperature now in force."""
        return 1.0 / min(float(self.log_scale.detach().exp()), self.max_scale)

"""Triplet loss: a negative should be farther than the partner by a margin."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.candidates import ContrastCandidates, distances, gather_candidates, swapped
from rayreel.tower.losses.config import Distance, Mining
from rayreel.tower.losses.global_batch import Gather, GlobalBatch
from rayreel.tower.losses.pair_loss import PairLoss


class Triplet(PairLoss):
    """Mean of max(0, d(anchor, partner) - d(anchor, negative) + margin) over the active triplets (value above zero).

    Each a_i and each b_i is an anchor; its negatives are the other side's views of other videos and, for a_i, all
    explicit negatives. Mining takes all negatives ("all"), the nearest one ("hard"), or the nearest one that is
    farther than the partner ("semi_hard"; if none is, the farthest negative).
    Source: Schroff et al. 2015, FaceNet, for the loss and semi-hard mining; Hermans et al. 2017, In Defense of the
    Triplet Loss, for the other two and the mean over active triplets.

    >>> a_BD = torch.eye(3)
    >>> batch = GlobalBatch.of_one(torch.arange(3))  # two views of each of three videos
    >>> loss = Triplet(margin=0.2, mining="hard")
    >>> loss(a_BD, a_BD, batch).item() < loss(a_BD, a_BD.roll(1, 0), batch).item()  # right partners, wrong partners
    True
    """

    def __init__(self, margin: float = 0.2, distance: Distance = "cosine", mining: Mining = "semi_hard") -> None:
        super().__init__()
        self.margin, self.distance, self.mining = margin, distance, mining

    def share(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None
    ) -> Tensor:
        """Sum over this worker's active triplets, divided by the number of active triplets of all workers."""
        forth_BC = self._violations(gather_candidates(a_BD, b_BD, batch, gather, negatives_ED))
        back_BC = self._violations(gather_candidates(b_BD, a_BD, swapped(batch), gather))
        active = (forth_BC > 0).sum() + (back_BC > 0).sum()
        return (forth_BC.sum() + back_BC.sum()) / gather(active.reshape(1)).sum().clamp(min=1)

    def _violations(self, candidates: ContrastCandidates) -> Tensor:
        """[B, C]: by how much each mined negative violates the margin; zero elsewhere."""
        distance_BC = distances(candidates, self.distance)
        partner_B1 = distance_BC.masked_fill(~candidates.positive_BC, 0).sum(dim=1, keepdim=True)
        chosen_BC = _mine(distance_BC.detach(), partner_B1.detach(), candidates.negative_BC, self.mining)
        return F.relu(partner_B1 - distance_BC + self.margin).masked_fill(~chosen_BC, 0)


def _mine(distance_BC: Tensor, partner_B1: Tensor, negative_BC: Tensor, mining: Mining) -> Tensor:
    """[B, C] bool: the mined negatives of each anchor."""
    if mining == "all":
        return negative_BC
    near_BC = distance_BC.masked_fill(~negative_BC, torch.inf)
    chosen_B = near_BC.argmin(dim=1)
    if mining == "semi_hard":
        beyond_BC = near_BC.masked_fill(distance_BC <= partner_B1, torch.inf)
        farthest_B = distance_BC.masked_fill(~negative_BC, -torch.inf).argmax(dim=1)
        chosen_B = torch.where(beyond_BC.isfinite().any(dim=1), beyond_BC.argmin(dim=1), farthest_B)
    return F.one_hot(chosen_B, distance_BC.shape[1]).bool() & negative_BC

"""Triplets: a negative should be farther than the partner, by a margin."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.candidates import Candidates, candidates, turned
from rayreel.tower.losses.config import Distance, Mining
from rayreel.tower.losses.distance import distances
from rayreel.tower.losses.joined import Gather, Joined
from rayreel.tower.losses.pair_loss import PairLoss


class Triplet(PairLoss):
    """Mean of max(0, d(anchor, partner) - d(anchor, negative) + margin) over the triplets where that is not zero.

    Each a_i and each b_i is an anchor; its negatives are the other side's views of other videos and, for a_i, all
    explicit negatives. Mining takes every negative ("all"), the nearest ("hard"), or of those farther than the
    partner the nearest ("semi_hard"; the farthest of all where none is farther than the partner).
    Source: Schroff et al. 2015, FaceNet, for the loss and semi-hard mining; Hermans et al. 2017, In Defense of the
    Triplet Loss, for the other two and the mean over active triplets.
    """

    def __init__(self, margin: float = 0.2, distance: Distance = "cosine", mining: Mining = "semi_hard") -> None:
        super().__init__()
        self.margin, self.distance, self.mining = margin, distance, mining

    def share(self, a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None) -> Tensor:
        """The active triplets of this worker's anchors by the number of active triplets of all."""
        forth_BC = self._violations(candidates(a_BD, b_BD, joined, gather, negatives_ED))
        back_BC = self._violations(candidates(b_BD, a_BD, turned(joined), gather))
        active = (forth_BC > 0).sum() + (back_BC > 0).sum()
        return (forth_BC.sum() + back_BC.sum()) / gather(active.reshape(1)).sum().clamp(min=1)

    def _violations(self, held: Candidates) -> Tensor:
        """[B, C]: by how much each chosen negative is too near; zero elsewhere."""
        distance_BC = distances(held, self.distance)
        partner_B1 = distance_BC.masked_fill(~held.own_BC, 0).sum(dim=1, keepdim=True)
        chosen_BC = _mine(distance_BC.detach(), partner_B1.detach(), held.negative_BC, self.mining)
        return F.relu(partner_B1 - distance_BC + self.margin).masked_fill(~chosen_BC, 0)


def _mine(distance_BC: Tensor, partner_B1: Tensor, negative_BC: Tensor, mining: Mining) -> Tensor:
    """[B, C] bool: the negatives that each anchor is held against."""
    if mining == "all":
        return negative_BC
    near_BC = distance_BC.masked_fill(~negative_BC, torch.inf)
    chosen_B = near_BC.argmin(dim=1)
    if mining == "semi_hard":
        beyond_BC = near_BC.masked_fill(distance_BC <= partner_B1, torch.inf)
        farthest_B = distance_BC.masked_fill(~negative_BC, -torch.inf).argmax(dim=1)
        chosen_B = torch.where(beyond_BC.isfinite().any(dim=1), beyond_BC.argmin(dim=1), farthest_B)
    return F.one_hot(chosen_B, distance_BC.shape[1]).bool() & negative_BC

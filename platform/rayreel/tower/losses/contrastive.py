"""Pairwise contrast: partners together, others apart up to a limit, one pair at a time."""

from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.candidates import candidates
from rayreel.tower.losses.config import Distance
from rayreel.tower.losses.distance import distances
from rayreel.tower.losses.joined import Gather, Joined
from rayreel.tower.losses.pair_loss import PairLoss


class Contrastive(PairLoss):
    """Half the mean cost of the pairs (a_i, b_i) plus half the mean cost of the too similar pairs (a_i, negative).

    Cosine: 1 - cos for partners, max(0, cos - margin) for negatives (torch's CosineEmbeddingLoss). Euclidean: d²/2
    and max(0, margin - d)²/2 (Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping). The
    two means keep the few partners from drowning in the many negatives. A batch without negatives, from which one
    could only learn to map everything to one point, costs nothing.
    """

    def __init__(self, margin: float = 0.0, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin, self.distance = margin, distance

    def share(self, a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None) -> Tensor:
        """This worker's partners and active negatives, each by the number of all workers'."""
        held = candidates(a_BD, b_BD, joined, gather, negatives_ED)
        distance_BC = distances(held, self.distance)
        real_B1 = joined.real_J[joined.own].unsqueeze(1)
        together_BC = self._together(distance_BC).masked_fill(~(held.own_BC & real_B1), 0)
        apart_BC = self._apart(distance_BC).masked_fill(~held.negative_BC, 0)
        active = gather((apart_BC > 0).sum().reshape(1)).sum().clamp(min=1)
        possible = gather(held.negative_BC.any().long().reshape(1)).any()
        pairs = joined.real_J.sum().clamp(min=1)
        return (together_BC.sum() / pairs + apart_BC.sum() / active) / 2 * possible

    def _together(self, distance_BC: Tensor) -> Tensor:
        return distance_BC if self.distance == "cosine" else distance_BC.square() / 2

    def _apart(self, distance_BC: Tensor) -> Tensor:
        if self.distance == "cosine":
            return F.relu(1 - distance_BC - self.margin)
        return F.relu(self.margin - distance_BC).square() / 2

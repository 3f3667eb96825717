"""Contrastive loss: pull partners together and push other pairs apart up to a limit, one pair at a time."""

from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.candidates import distances, gather_candidates
from rayreel.tower.losses.config import Distance
from rayreel.tower.losses.global_batch import Gather, GlobalBatch
from rayreel.tower.losses.pair_loss import PairLoss


class Contrastive(PairLoss):
    """Half the mean loss of the pairs (a_i, b_i) plus half the mean loss of the active negative pairs (a_i, negative).

    Cosine: 1 - cos for partners, max(0, cos - margin) for negatives (torch's CosineEmbeddingLoss). Euclidean: d²/2
    and max(0, margin - d)²/2 (Hadsell et al. 2006, Dimensionality Reduction by Learning an Invariant Mapping).
    Separate means keep the many negatives from outweighing the few partners. The loss of a batch without negatives
    is zero: its only minimum would be the collapse to one point.

    >>> from torch import arange, eye
    >>> batch = GlobalBatch.of_one(arange(3))  # two views of each of three videos
    >>> loss = Contrastive(margin=0.0)
    >>> loss(eye(3), eye(3), batch).item(), loss(eye(3), eye(3).roll(1, 0), batch).item()  # right and wrong partners
    (0.0, 1.0)
    """

    def __init__(self, margin: float = 0.0, distance: Distance = "cosine") -> None:
        super().__init__()
        self.margin, self.distance = margin, distance

    def share(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None
    ) -> Tensor:
        """Losses of this worker's partners and active negatives, each divided by their number over all workers."""
        candidates = gather_candidates(a_BD, b_BD, batch, gather, negatives_ED)
        distance_BC = distances(candidates, self.distance)
        real_B1 = batch.real_J[batch.own].unsqueeze(1)
        together_BC = self._together(distance_BC).masked_fill(~(candidates.positive_BC & real_B1), 0)
        apart_BC = self._apart(distance_BC).masked_fill(~candidates.negative_BC, 0)
        active = gather((apart_BC > 0).sum().reshape(1)).sum().clamp(min=1)
        possible = gather(candidates.negative_BC.any().long().reshape(1)).any()
        pairs = batch.real_J.sum().clamp(min=1)
        return (together_BC.sum() / pairs + apart_BC.sum() / active) / 2 * possible

    def _together(self, distance_BC: Tensor) -> Tensor:
        return distance_BC if self.distance == "cosine" else distance_BC.square() / 2

    def _apart(self, distance_BC: Tensor) -> Tensor:
        if self.distance == "cosine":
            return F.relu(1 - distance_BC - self.margin)
        return F.relu(self.margin - distance_BC).square() / 2

"""Supervised contrastive loss: all alike videos are positives, not only a video's own partner."""

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.global_batch import FILLER, Gather, GlobalBatch
from rayreel.tower.losses.pair_loss import PairLoss


class SupCon(PairLoss):
    """Every view of the batch is an anchor; its positives are its partner and all other views that are alike.

    Mean over anchors of the mean over positives p of -log(exp(z·z_p/τ) / Σ_c exp(z·z_c/τ)), where c runs over
    positives and negatives. `batch.alike` defines the positives; views that are neither alike nor distinct
    (`batch.distinct`) are left out. Explicit negatives are negatives of every anchor to which they are not alike.
    Source: Khosla et al. 2020, Supervised Contrastive Learning, L_out; the temperature is fixed, as there.

    >>> a_BD = torch.eye(3)
    >>> batch = GlobalBatch.of_one(torch.arange(3))  # two views of each of three videos
    >>> loss = SupCon(temperature=0.1)
    >>> loss(a_BD, a_BD, batch).item() < loss(a_BD, a_BD.roll(1, 0), batch).item()  # right partners, wrong partners
    True
    """

    def __init__(self, temperature: float = 0.07) -> None:
        super().__init__()
        self._temperature = temperature

    def share(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None
    ) -> Tensor:
        """Sum over this worker's anchors, divided by the number of all anchors. C: both sides, then negatives."""
        sides = [gather(a_BD), gather(b_BD)] + ([] if negatives_ED is None else [gather(negatives_ED)])
        logits_AC = torch.cat([a_BD, b_BD]) @ torch.cat(sides).T / self._temperature
        positive_AC, negative_AC = _relations(batch, logits_AC.shape[1])
        candidates_AC = logits_AC.masked_fill(~positive_AC & ~negative_AC, -torch.inf)
        log_p_AC = logits_AC - candidates_AC.logsumexp(dim=1, keepdim=True)
        per_anchor_A = log_p_AC.masked_fill(~positive_AC, 0).sum(dim=1) / positive_AC.sum(dim=1)
        return -per_anchor_A.sum() / (2 * batch.real_J.sum().clamp(min=1))

    @property
    def temperature(self) -> float:
        """Softmax temperature, fixed."""
        return self._temperature


def _relations(batch: GlobalBatch, width: int) -> tuple[Tensor, Tensor]:
    """Positives and negatives [A, C] of this worker's views.

    The only candidate of a filler is its partner, so its loss is zero.
    """
    ids_C = torch.cat([batch.a_ids_J, batch.b_ids_J])
    views, pairs = len(ids_C), len(batch.a_ids_J)
    if width > views:
        assert batch.negative_ids_K is not None, "explicit negatives need their ids"
        ids_C = torch.cat([ids_C, batch.negative_ids_K])
    column = torch.arange(batch.first, batch.first + batch.count, device=ids_C.device)
    self_A = torch.cat([column, column + pairs])
    self_AC = F.one_hot(self_A, width).bool()
    partner_AC = F.one_hot((self_A + pairs) % views, width).bool()
    open_AC = batch.real_J.repeat(2)[self_A].unsqueeze(1) & ~self_AC
    is_view_C = (torch.arange(width, device=ids_C.device) < views) & (ids_C != FILLER)
    positive_AC = batch.alike(ids_C[self_A], ids_C) & open_AC & is_view_C | partner_AC
    return positive_AC, ~batch.excluded_negatives(ids_C[self_A], ids_C) & open_AC & ~positive_AC

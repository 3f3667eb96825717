"""InfoNCE: identify the partner among all candidates."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.tower.losses.candidates import gather_candidates, swapped
from rayreel.tower.losses.global_batch import Gather, GlobalBatch
from rayreel.tower.losses.pair_loss import PairLoss


class InfoNCE(PairLoss):
    """Symmetric InfoNCE with learnable temperature and the negatives of all workers.

    Mean over pairs of two cross-entropies: b_i among the candidates of a_i, and a_i among the candidates of b_i.
    Explicit negatives are candidates of every a_i. With `log_q`, and if the batch has `log_q_J`, the logits of a_i's
    candidates are corrected for how often they are drawn; otherwise popular videos are pushed away for being popular.
    Source: van den Oord et al. 2018; symmetric form and temperature as in Radford et al. 2021 (CLIP); correction as in
    Yi et al. 2019, Sampling-Bias-Corrected Neural Modeling.

    >>> a_BD = torch.eye(3)
    >>> batch = GlobalBatch.of_one(torch.arange(3))  # two views of each of three videos
    >>> loss = InfoNCE(temperature=0.1)
    >>> loss(a_BD, a_BD, batch).item() < loss(a_BD, a_BD.roll(1, 0), batch).item()  # right partners, wrong partners
    True
    """

    def __init__(self, temperature: float = 0.07, max_scale: float = 100.0, *, log_q: bool = True) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0 / temperature).log())
        self.max_scale, self.log_q = max_scale, log_q

    def share(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None
    ) -> Tensor:
        """Sum of this worker's cross-entropies, divided by the number of pairs of all workers."""
        forth = self._cross_entropy(a_BD, b_BD, batch, gather, negatives_ED)
        back = self._cross_entropy(b_BD, a_BD, swapped(batch), gather)
        return (forth + back) / (2 * batch.real_J.sum().clamp(min=1))

    def _cross_entropy(
        self, a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None = None
    ) -> Tensor:
        candidates = gather_candidates(a_BD, b_BD, batch, gather, negatives_ED)
        logits_BC = self.log_scale.exp().clamp(max=self.max_scale) * candidates.x_BD @ candidates.y_CD.T
        if self.log_q and batch.log_q_J is not None:
            logits_BC = logits_BC - _odds(batch.log_q_J, batch.real_J, logits_BC.shape[1])
        # The only candidate of a filler row is its partner, so its loss is zero.
        logits_BC = logits_BC.masked_fill(~candidates.negative_BC & ~candidates.positive_BC, -torch.inf)
        return F.cross_entropy(logits_BC, candidates.positive_BC.long().argmax(dim=1), reduction="sum")

    @property
    def temperature(self) -> float:
        """The current temperature."""
        return max(float((-self.log_scale.detach()).exp()), 1.0 / self.max_scale)


def _odds(log_q_J: Tensor, real_J: Tensor, width: int) -> Tensor:
    """[width]: log q minus its mean, a shift that softmax ignores; explicit negatives get the mean, which is 0."""
    log_q_J = log_q_J.float().masked_fill(~real_J, 0)
    centred_J = log_q_J - log_q_J.sum() / real_J.sum().clamp(min=1)
    return F.pad(centred_J, (0, width - len(centred_J)))

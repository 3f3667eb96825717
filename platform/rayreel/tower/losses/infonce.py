"""InfoNCE: of all candidates, find the partner."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.tower.losses.candidates import candidates, turned
from rayreel.tower.losses.joined import Gather, Joined
from rayreel.tower.losses.pair_loss import PairLoss


class InfoNCE(PairLoss):
    """Symmetric InfoNCE with learnable temperature and the negatives of all workers.

    The mean over pairs of the cross-entropies of b_i among the candidates of a_i and of a_i among those of b_i.
    Explicit negatives are candidates of every a_i. With `log_q` and where the step knows `log_q_J`, the candidates of
    a_i are corrected for how often they are drawn: without it popular videos are pushed away for being popular.
    Source: van den Oord et al. 2018; symmetric form and temperature as in Radford et al. 2021 (CLIP); correction as in
    Yi et al. 2019, Sampling-Bias-Corrected Neural Modeling.
    """

    def __init__(self, temperature: float = 0.07, max_scale: float = 100.0, *, log_q: bool = True) -> None:
        super().__init__()
        self.log_scale = nn.Parameter(torch.tensor(1.0 / temperature).log())
        self.max_scale, self.log_q = max_scale, log_q

    def share(self, a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None) -> Tensor:
        """The cross-entropies of this worker's rows by the number of pairs of all."""
        forth = self._cross_entropy(a_BD, b_BD, joined, gather, negatives_ED)
        back = self._cross_entropy(b_BD, a_BD, turned(joined), gather)
        return (forth + back) / (2 * joined.real_J.sum().clamp(min=1))

    def _cross_entropy(
        self, a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None = None
    ) -> Tensor:
        held = candidates(a_BD, b_BD, joined, gather, negatives_ED)
        logits_BC = self.log_scale.exp().clamp(max=self.max_scale) * held.x_BD @ held.y_CD.T
        if self.log_q and joined.log_q_J is not None:
            logits_BC = logits_BC - _odds(joined.log_q_J, joined.real_J, logits_BC.shape[1])
        # A filler row has its partner for only candidate, which costs nothing.
        logits_BC = logits_BC.masked_fill(~held.negative_BC & ~held.own_BC, -torch.inf)
        return F.cross_entropy(logits_BC, held.own_BC.long().argmax(dim=1), reduction="sum")

    @property
    def temperature(self) -> float:
        """The temperature now in force."""
        return max(float((-self.log_scale.detach()).exp()), 1.0 / self.max_scale)


def _odds(log_q_J: Tensor, real_J: Tensor, width: int) -> Tensor:
    """[width]: log q less its mean, which no softmax over the batch notices; explicit negatives stand at that mean."""
    log_q_J = log_q_J.float().masked_fill(~real_J, 0)
    centred_J = log_q_J - log_q_J.sum() / real_J.sum().clamp(min=1)
    return F.pad(centred_J, (0, width - len(centred_J)))

"""One pass after another over who watched what next: in-batch softmax with logQ correction, on frozen vectors."""

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import count

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.evaluation.sequences import Sequences
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.losses.global_batch import FILLER
from rayreel.tower.user import UserTower
from rayreel.tower.user_history import HistoryBatch
from rayreel.tower.user_network import ItemTable, UserNetwork
from rayreel.training.distributed import sum_gradients, world
from rayreel.training.order import positions

_CLIP_NORM = 5.0
_NEVER = -1e9


@dataclass(frozen=True, slots=True)
class WatchedNext:
    """Examples of what was watched next, and the items: vectors_ND and codes_N of all videos."""

    sequences: Sequences
    vectors_ND: NDArray[np.float32]
    codes_N: NDArray[np.int64]

    def log_q(self, batch: int) -> Tensor:
        """Return the log of the chance that a video is a candidate of a batch, [N]."""
        shares_N = np.bincount(self.sequences.targets_E, minlength=len(self.codes_N)) / len(self.sequences)
        chances_N = -np.expm1(batch * np.log1p(-np.minimum(shares_N, 1 - 1e-9)))
        return torch.from_numpy(np.log(np.maximum(chances_N, 1e-12)).astype(np.float32))


@dataclass(frozen=True, slots=True)
class NextBatch:
    """B histories, the video that followed each, and the C candidates in order, which have all of these.

    `kept_BX`: see `UserNetwork.forward`.
    """

    history: HistoryBatch
    targets_B: Tensor
    candidates_C: Tensor
    kept_BX: Tensor | None = None


def fit_epochs(tower: UserTower, data: WatchedNext, config: UserTowerConfig, seed: int) -> Iterator[float]:
    """Train in place, and yield the mean loss after every pass, without end."""
    network, rng = tower.network, np.random.default_rng(seed)
    size = min(config.batch_size, len(data.sequences))
    log_q_N = data.log_q(size)
    optimizer = torch.optim.AdamW(_groups(network, config), lr=config.learning_rate)
    for epoch in count():
        network.train()
        order_E = rng.permutation(len(data.sequences))
        losses = []
        for start in range(0, len(order_E) - size + 1, size):
            random = torch.Generator().manual_seed(_seed(seed, epoch, start))
            loss = gradients(network, data, order_E[start : start + size], log_q_N, random)
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
            optimizer.step()
            losses.append(float(loss))
        network.eval()
        yield float(np.mean(losses))


def gradients(
    network: UserNetwork,
    data: WatchedNext,
    examples_J: NDArray[np.int64],
    log_q_N: Tensor | None,
    random: torch.Generator,
) -> Tensor:
    """Compute the gradients of the global batch of these examples on every worker, and return its loss.

    Each worker reads the histories of its share. The candidates, which are the targets of all, it computes itself: they
    need no history. Dropout is drawn for the global batch, so any number of workers gives the same.
    """
    place_B = positions(len(examples_J), *world())
    real_B = place_B != FILLER
    place_B = np.maximum(place_B, 0)
    targets_J = torch.from_numpy(data.sequences.targets_E[examples_J])
    left_N = torch.rand(len(data.codes_N), generator=random) < network.config.id_dropout
    kept_JX = torch.rand(len(examples_J), network.reader.width, generator=random) >= network.config.dropout
    items = ItemTable(torch.from_numpy(data.vectors_ND), torch.from_numpy(data.codes_N).masked_fill(left_N, 0))
    kept_BX = kept_JX[place_B] / (1 - network.config.dropout)
    batch = NextBatch(
        data.sequences.histories(examples_J[place_B]), targets_J[place_B], torch.unique(targets_J), kept_BX
    )
    network.zero_grad()
    loss_B = step_loss(network, items, batch, log_q_N)
    share = (loss_B * torch.from_numpy(real_B)).sum() / len(examples_J)
    share.backward()  # type: ignore[no-untyped-call]
    return sum_gradients(network.parameters(), share)


def step_loss(network: UserNetwork, items: ItemTable, batch: NextBatch, log_q_N: Tensor | None) -> Tensor:
    """Return the cross-entropies of the videos watched next among the candidates, [B].

    With log_q_N [N], logits are corrected for how often a video is a candidate: otherwise popular videos would be
    pushed away for being popular. What is in a history is no negative of it. In training, ids of some videos are left
    out of `items` at random, so that videos without one are ranked well, too. Sources: Yi et al. 2019,
    Sampling-Bias-Corrected Neural Modeling; Volkovs et al. 2017, DropoutNet.
    """
    candidates_C = batch.candidates_C
    target_B = torch.searchsorted(candidates_C, batch.targets_B)
    users = network(items, batch.history, batch.kept_BX)
    residuals_CW = network.residuals(items.codes_N[candidates_C])
    logits_BC = users.content_BD @ items.content_ND[candidates_C].T + users.residual_BW @ residuals_CW.T
    logits_BC = network.scale * logits_BC
    if log_q_N is not None:
        logits_BC = logits_BC - log_q_N[candidates_C]
    watched_BC = _contains(batch.history.rows_BL, candidates_C, len(items.codes_N))
    watched_BC[torch.arange(len(target_B)), target_B] = False
    return F.cross_entropy(logits_BC.masked_fill(watched_BC, _NEVER), target_B, reduction="none")


def _seed(*numbers: int) -> int:
    return int(np.random.SeedSequence(numbers).generate_state(1, np.uint64)[0] >> 1)


def _contains(rows_BL: Tensor, candidates_C: Tensor, videos: int) -> Tensor:
    """[B, C] bool: which candidates are in which history."""
    column_N = torch.full((videos + 1,), len(candidates_C))
    column_N[candidates_C] = torch.arange(len(candidates_C))
    found_BC = torch.zeros(len(rows_BL), len(candidates_C) + 1, dtype=torch.bool)
    found_BC.scatter_(1, column_N[rows_BL], True)  # padding, -1, is the last column
    return found_BC[:, :-1]


def _groups(network: UserNetwork, config: UserTowerConfig) -> list[dict[str, object]]:
    """Weight decay for matrices only."""
    parts: dict[bool, list[nn.Parameter]] = {True: [], False: []}
    for name, parameter in network.named_parameters():
        parts[parameter.ndim > 1 and not name.startswith("by_")].append(parameter)
    return [
        {"params": parts[True], "weight_decay": config.weight_decay},
        {"params": parts[False], "weight_decay": 0.0},
    ]

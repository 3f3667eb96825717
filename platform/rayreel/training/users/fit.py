"""One pass after another over who watched what next: in-batch softmax with logQ correction, on frozen vectors."""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.evaluation.sequences import Sequences
from rayreel.tower.config import UserTowerConfig
from rayreel.tower.user import UserTower
from rayreel.tower.user_network import HistoryBatch, ItemTable, UserNetwork

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


def fit_epochs(tower: UserTower, data: WatchedNext, config: UserTowerConfig, seed: int) -> Iterator[float]:
    """Train in place, and yield the mean loss after every pass, without end."""
    network, rng = tower.network, np.random.default_rng(seed)
    items = ItemTable(torch.from_numpy(data.vectors_ND), torch.from_numpy(data.codes_N))
    size = min(config.batch_size, len(data.sequences))
    log_q_N = data.log_q(size)
    optimizer = torch.optim.AdamW(_groups(network, config), lr=config.learning_rate)
    while True:
        network.train()
        order_E = rng.permutation(len(data.sequences))
        losses = []
        for start in range(0, len(order_E) - size + 1, size):
            chosen_B = order_E[start : start + size]
            targets_B = torch.from_numpy(data.sequences.targets_E[chosen_B])
            loss = step_loss(network, items, data.sequences.histories(chosen_B), targets_B, log_q_N)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            nn.utils.clip_grad_norm_(network.parameters(), _CLIP_NORM)
            optimizer.step()
            losses.append(float(loss.detach()))
        network.eval()
        yield float(np.mean(losses))


def step_loss(
    network: UserNetwork, items: ItemTable, history: HistoryBatch, targets_B: Tensor, log_q_N: Tensor | None
) -> Tensor:
    """Return the cross-entropy of the video watched next among all different targets of the batch.

    With log_q_N [N], logits are corrected for how often a video is a candidate: otherwise popular videos would be
    pushed away for being popular. What is in a history is no negative of it. Ids of some videos are left out at random,
    so that videos without one are ranked well, too. Sources: Yi et al. 2019, Sampling-Bias-Corrected Neural Modeling;
    Volkovs et al. 2017, DropoutNet.
    """
    dropped_N = torch.rand(len(items.codes_N)) < network.config.id_dropout
    items = ItemTable(items.content_ND, items.codes_N.masked_fill(dropped_N, 0))
    candidates_C, target_B = torch.unique(targets_B, return_inverse=True)
    users = network(items, history)
    residuals_CW = network.residuals(items.codes_N[candidates_C])
    logits_BC = users.content_BD @ items.content_ND[candidates_C].T + users.residual_BW @ residuals_CW.T
    logits_BC = network.scale * logits_BC
    if log_q_N is not None:
        logits_BC = logits_BC - log_q_N[candidates_C]
    watched_BC = _contains(history.rows_BL, candidates_C, len(items.codes_N))
    watched_BC[torch.arange(len(target_B)), target_B] = False
    return F.cross_entropy(logits_BC.masked_fill(watched_BC, _NEVER), target_B)


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

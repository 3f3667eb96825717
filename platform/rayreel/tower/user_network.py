"""The network of the user tower: from the newest videos of a history to a vector in the space of the items."""

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.tower.config import UserTowerConfig

# Weights of a history below the first are glimpses, above the second likes.
KINDS = (0.5, 1.5)
_DAY_S, _MINUTE_S = 86_400.0, 60.0
_INITIAL_SCALE = 10.0
_SPREAD = 0.02


@dataclass(frozen=True, slots=True)
class HistoryBatch:
    """B histories of up to L videos, newest first, padded at the end.

    rows_BL: rows of an item table; -1 is padding. weights_BL: 1 for a video that was watched to its end, 0 for one that
    was not liked, which the mean leaves out. ages_BL: seconds before the newest, 0 if unknown.
    """

    rows_BL: Tensor
    weights_BL: Tensor
    ages_BL: Tensor

    def newest(self, count: int) -> "HistoryBatch":
        """Return the newest videos of each history."""
        return HistoryBatch(self.rows_BL[:, :count], self.weights_BL[:, :count], self.ages_BL[:, :count])


@dataclass(frozen=True, slots=True)
class ItemTable:
    """N videos: unit embeddings content_ND, and the code of each in the network's tables, 0 for one without."""

    content_ND: Tensor
    codes_N: Tensor


@dataclass(frozen=True, slots=True)
class UserVectors:
    """What a user likes: content_BD in the space of the embeddings, residual_BW in that of the items' residuals.

    The last number of a residual is the item's popularity, so that of a user is constant.
    """

    content_BD: Tensor
    residual_BW: Tensor


class UserNetwork(nn.Module):
    """Attends over the newest videos of a history and adds what it finds to the decayed mean of their embeddings.

    An item is its embedding c and, if it was watched in training, a residual vector r and a popularity b of its own.
    Its score for a user is <m + A s, c> + <s, r> + b. m is the unit mean of the history's embeddings, weighted and
    decayed by age; s, a short vector, sums several attentions over the history, each with its own half-life and with
    biases by rank and by how much a video was liked. s, r and b add nothing at first, so the ranking is that of m.

    Sources: Kang & McAuley 2018 (SASRec) for attention over a history; Yi et al. 2019 for the two towers.
    """

    def __init__(self, config: UserTowerConfig, dim: int, ids: int) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        width, heads = config.width, config.heads
        self.source = nn.Linear(dim, width, bias=False)
        self.target = nn.Linear(dim, width, bias=False)
        self.source_ids = nn.Embedding(ids + 1, width, padding_idx=0)
        self.target_ids = nn.Embedding(ids + 1, width, padding_idx=0)
        self.popularity = nn.Embedding(ids + 1, 1, padding_idx=0)
        # From the half-life of the mean down to a minute.
        self.log_half_life = nn.Parameter(torch.linspace(math.log(config.half_life_s), math.log(_MINUTE_S), heads))
        self.by_rank = nn.Parameter(torch.zeros(heads, config.history))
        self.by_kind = nn.Parameter(torch.zeros(heads, len(KINDS) + 1))
        self.query = nn.Linear(width, heads * width, bias=False)
        self.out = nn.Linear(heads * width, width)
        self.log_scale = nn.Parameter(torch.tensor(_INITIAL_SCALE).log())
        self.dropout = nn.Dropout(config.dropout)
        for table in (self.source_ids, self.target_ids):
            nn.init.normal_(table.weight[1:].detach(), std=_SPREAD)
            nn.init.zeros_(table.weight[:1].detach())
        for zero in (self.popularity.weight, self.query.weight, self.out.weight, self.out.bias):
            nn.init.zeros_(zero)

    @property
    def scale(self) -> Tensor:
        """The inverse temperature of the scores."""
        return self.log_scale.exp()

    def forward(self, items: ItemTable, history: HistoryBatch) -> UserVectors:
        """Return the vectors of B users from the items that their histories name."""
        mean_BD = decayed_mean(items.content_ND, history, self.config.half_life_s)
        s_BW = self._attended(items, history)
        residual_BW = torch.cat([s_BW, torch.ones_like(s_BW[:, :1])], dim=1) / self.scale
        return UserVectors(mean_BD + s_BW @ self.target.weight / self.scale, residual_BW)

    def residuals(self, codes_N: Tensor) -> Tensor:
        """Return r and b of items by their codes, [N, W + 1]; zero for the code 0."""
        return torch.cat([self.target_ids(codes_N), self.popularity(codes_N)], dim=1)

    def _attended(self, items: ItemTable, whole: HistoryBatch) -> Tensor:
        history = whole.newest(self.config.history)
        present_BL = history.rows_BL >= 0
        rows_U, place_BL = torch.unique(history.rows_BL.clamp(min=0), return_inverse=True)
        values_UW = self.source(items.content_ND[rows_U]) + self.source_ids(items.codes_N[rows_U])
        values_BLW = values_UW[place_BL]
        query_BHW = self.query(values_BLW[:, 0]).unflatten(1, (self.config.heads, -1))
        logits_BHL = torch.einsum("bhw,blw->bhl", query_BHW, values_BLW) / self.config.width**0.5
        logits_BHL = logits_BHL + self._biases(history)
        # A history without any video attends to padding, which is then multiplied by zero.
        weights_BHL = logits_BHL.masked_fill(~present_BL.unsqueeze(1), -1e9).softmax(dim=-1)
        read_BHW = torch.einsum("bhl,blw->bhw", weights_BHL, values_BLW * present_BL.unsqueeze(-1))
        s_BW: Tensor = self.out(self.dropout(read_BHW.flatten(1)))
        return s_BW

    def _biases(self, history: HistoryBatch) -> Tensor:
        """Return what is added to the logits, [B, H, L]."""
        half_lives_H = self.log_half_life.exp()[:, None]
        decay_BHL = math.log(0.5) * history.ages_BL.unsqueeze(1) / half_lives_H
        kinds_BL = torch.bucketize(
            history.weights_BL.contiguous(), torch.tensor(KINDS, device=history.weights_BL.device)
        )
        kind_BHL = self.by_kind.T[kinds_BL].movedim(-1, 1)
        return decay_BHL + kind_BHL + self.by_rank[:, : history.rows_BL.shape[1]]


def decayed_mean(content_ND: Tensor, history: HistoryBatch, half_life_s: float) -> Tensor:
    """Return the mean of the embeddings of each history, weighted and halved per half-life of age, at unit length."""
    weights_BL = history.weights_BL * 0.5 ** (history.ages_BL / half_life_s) * (history.rows_BL >= 0)
    rows_BL = history.rows_BL.clamp(min=0)
    sums_BD = F.embedding_bag(rows_BL, content_ND, per_sample_weights=weights_BL, mode="sum")
    return F.normalize(sums_BD, dim=-1)

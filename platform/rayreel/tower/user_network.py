"""The network of the user tower: from the newest videos of a history to a vector in the space of the items."""

from dataclasses import dataclass

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.tower.config import UserTowerConfig
from rayreel.tower.history_readers import READERS
from rayreel.tower.user_history import HistoryBatch

_INITIAL_SCALE = 10.0
_SPREAD = 0.02


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
    """Reads the newest videos of a history and adds what it finds to the decayed mean of their embeddings.

    An item is its embedding c and, if it was watched in training, a residual vector r and a popularity b of its own.
    Its score for a user is <m + A s, c> + <s, r> + b. m is the unit mean of the history's embeddings, weighted and
    decayed by age; s, a short vector, is what a reader (`tower.history_readers`) makes of the history. s, r and b add
    nothing at first, so the ranking is that of m. Source: Yi et al. 2019 for the two towers.
    """

    def __init__(self, config: UserTowerConfig, dim: int, ids: int) -> None:
        super().__init__()
        self.config, self.dim = config, dim
        width = config.width
        self.source = nn.Linear(dim, width, bias=False)
        self.target = nn.Linear(dim, width, bias=False)
        self.source_ids = nn.Embedding(ids + 1, width, padding_idx=0)
        self.target_ids = nn.Embedding(ids + 1, width, padding_idx=0)
        self.popularity = nn.Embedding(ids + 1, 1, padding_idx=0)
        self.reader = READERS[config.session](config)
        self.out = nn.Linear(self.reader.width, width)
        self.log_scale = nn.Parameter(torch.tensor(_INITIAL_SCALE).log())
        for table in (self.source_ids, self.target_ids):
            nn.init.normal_(table.weight[1:].detach(), std=_SPREAD)
            nn.init.zeros_(table.weight[:1].detach())
        for zero in (self.popularity.weight, self.out.weight, self.out.bias):
            nn.init.zeros_(zero)

    @property
    def scale(self) -> Tensor:
        """The inverse temperature of the scores."""
        return self.log_scale.exp()

    def forward(self, items: ItemTable, history: HistoryBatch, kept_BX: Tensor | None = None) -> UserVectors:
        """Return the vectors of B users from the items that their histories name.

        `kept_BX`: in training, what dropout leaves of what was read, scaled.
        """
        mean_BD = decayed_mean(items.content_ND, history, self.config.half_life_s)
        s_BW = self._session(items, history, kept_BX)
        residual_BW = torch.cat([s_BW, torch.ones_like(s_BW[:, :1])], dim=1) / self.scale
        return UserVectors(mean_BD + s_BW @ self.target.weight / self.scale, residual_BW)

    def residuals(self, codes_N: Tensor) -> Tensor:
        """Return r and b of items by their codes, [N, W + 1]; zero for the code 0."""
        return torch.cat([self.target_ids(codes_N), self.popularity(codes_N)], dim=1)

    def _session(self, items: ItemTable, whole: HistoryBatch, kept_BX: Tensor | None) -> Tensor:
        history = whole.newest(self.config.history)
        rows_U, place_BL = torch.unique(history.rows_BL.clamp(min=0), return_inverse=True)
        values_UW = self.source(items.content_ND[rows_U]) + self.source_ids(items.codes_N[rows_U])
        read_BX = self.reader(values_UW[place_BL], history)
        s_BW: Tensor = self.out(read_BX if kept_BX is None else kept_BX * read_BX)
        return s_BW


def decayed_mean(content_ND: Tensor, history: HistoryBatch, half_life_s: float) -> Tensor:
    """Return the mean of the embeddings of each history, weighted and halved per half-life of age, at unit length."""
    weights_BL = history.weights_BL * 0.5 ** (history.ages_BL / half_life_s) * (history.rows_BL >= 0)
    rows_BL = history.rows_BL.clamp(min=0)
    sums_BD = F.embedding_bag(rows_BL, content_ND, per_sample_weights=weights_BL, mode="sum")
    return F.normalize(sums_BD, dim=-1)

"""Ways to read the newest videos of a history into one vector: the session part of the user tower."""

import math

import torch
from torch import Tensor, nn

from rayreel.tower.config import UserTowerConfig
from rayreel.tower.user_history import KINDS, HistoryBatch

_DAY_S, _MINUTE_S = 86_400.0, 60.0


class AttentionReader(nn.Module):
    """Several attentions, each with its own half-life and with biases by rank and by how much a video was liked.

    Shapes: values_BLW of the videos of `history`, newest first -> [B, heads · W]; zero for an empty history. The query
    is the newest video.
    """

    def __init__(self, config: UserTowerConfig) -> None:
        super().__init__()
        width, heads = config.width, config.heads
        self.width, self.heads = heads * width, heads
        # From the half-life of the mean down to a minute.
        self.log_half_life = nn.Parameter(torch.linspace(math.log(config.half_life_s), math.log(_MINUTE_S), heads))
        self.by_rank = nn.Parameter(torch.zeros(heads, config.history))
        self.by_kind = nn.Parameter(torch.zeros(heads, len(KINDS) + 1))
        self.query = nn.Linear(width, heads * width, bias=False)
        nn.init.zeros_(self.query.weight)

    def forward(self, values_BLW: Tensor, history: HistoryBatch) -> Tensor:
        """Return what the attentions read."""
        present_BL = history.present_BL
        query_BHW = self.query(values_BLW[:, 0]).unflatten(1, (self.heads, -1))
        logits_BHL = torch.einsum("bhw,blw->bhl", query_BHW, values_BLW) / values_BLW.shape[2] ** 0.5
        logits_BHL = logits_BHL + self._biases(history)
        # A history without any video attends to padding, which is then multiplied by zero.
        weights_BHL = logits_BHL.masked_fill(~present_BL.unsqueeze(1), -1e9).softmax(dim=-1)
        return torch.einsum("bhl,blw->bhw", weights_BHL, values_BLW * present_BL.unsqueeze(-1)).flatten(1)

    def _biases(self, history: HistoryBatch) -> Tensor:
        """Return what is added to the logits, [B, H, L]."""
        half_lives_H = self.log_half_life.exp()[:, None]
        decay_BHL = math.log(0.5) * history.ages_BL.unsqueeze(1) / half_lives_H
        kind_BHL = self.by_kind.T[history.kinds_BL].movedim(-1, 1)
        return decay_BHL + kind_BHL + self.by_rank[:, : history.rows_BL.shape[1]]


class _Described(nn.Module):
    """Adds to each video how much it was liked and how old the view is."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.kind = nn.Embedding(len(KINDS) + 1, width)
        self.age = nn.Linear(1, width, bias=False)
        nn.init.zeros_(self.kind.weight)
        nn.init.zeros_(self.age.weight)

    def forward(self, values_BLW: Tensor, history: HistoryBatch) -> Tensor:
        days_BL1 = torch.log1p(history.ages_BL / _DAY_S).unsqueeze(-1)
        described_BLW: Tensor = values_BLW + self.kind(history.kinds_BL) + self.age(days_BL1)
        return described_BLW


class GruReader(nn.Module):
    """A GRU over the videos, oldest first. Source: Hidasi et al. 2016, GRU4Rec.

    Shapes: values_BLW of the videos of `history`, newest first -> [B, W], the last state; zero for an empty history.
    """

    def __init__(self, config: UserTowerConfig) -> None:
        super().__init__()
        self.width = config.width
        self.described = _Described(config.width)
        self.norm = nn.LayerNorm(config.width)  # the vectors of videos are small, and then a GRU learns slowly
        self.gru = nn.GRU(config.width, config.width, batch_first=True)

    def forward(self, values_BLW: Tensor, history: HistoryBatch) -> Tensor:
        """Return the state after the newest video."""
        count_B1 = history.present_BL.sum(dim=1, keepdim=True)
        # Padding stays at the end, after the newest video.
        place_BL = count_B1 - 1 - torch.arange(values_BLW.shape[1], device=values_BLW.device)
        oldest_BL = torch.where(place_BL >= 0, place_BL, 0)
        described_BLW = self.norm(self.described(values_BLW, history))
        states_BLW, _ = self.gru(torch.take_along_dim(described_BLW, oldest_BL.unsqueeze(-1), dim=1))
        last_BW = torch.take_along_dim(states_BLW, (count_B1 - 1).clamp(min=0).unsqueeze(-1), dim=1).squeeze(1)
        return last_BW * (count_B1 > 0)


class TransformerReader(nn.Module):
    """A block of self-attention with positions, of which the newest video's output is read.

    Shapes: values_BLW of the videos of `history`, newest first -> [B, W]; zero for an empty history. Source: Kang &
    McAuley 2018 (SASRec); no later video is in a history, so no mask hides any.
    """

    def __init__(self, config: UserTowerConfig) -> None:
        super().__init__()
        self.width = config.width
        self.described = _Described(config.width)
        self.by_rank = nn.Parameter(torch.zeros(config.history, config.width))
        self.block = nn.TransformerEncoderLayer(
            config.width, config.heads, 2 * config.width, dropout=0.0, batch_first=True, norm_first=True
        )

    def forward(self, values_BLW: Tensor, history: HistoryBatch) -> Tensor:
        """Return the output for the newest video."""
        hidden_BL = ~history.present_BL
        empty_B1 = hidden_BL[:, :1]
        described_BLW = self.described(values_BLW, history) + self.by_rank[: values_BLW.shape[1]]
        first_L = torch.arange(values_BLW.shape[1], device=values_BLW.device) == 0
        # Attention over nothing would be NaN.
        read_BLW: Tensor = self.block(described_BLW, src_key_padding_mask=hidden_BL & ~(empty_B1 & first_L))
        return read_BLW[:, 0] * ~empty_B1


READERS: dict[str, type[AttentionReader] | type[GruReader] | type[TransformerReader]] = {
    "attention": AttentionReader,
    "gru": GruReader,
    "transformer": TransformerReader,
}

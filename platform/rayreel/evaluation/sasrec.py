"""SASRec by ids: a baseline that knows who watched what after what, and no content."""

from collections.abc import Iterator
from copy import deepcopy
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.scorers import Answer, Rows, Scorer, Scores
from rayreel.evaluation.users import Period, UserQueries, UserSplit

LENGTH, WIDTH, BLOCKS, HEADS, DROPOUT = 50, 64, 2, 1, 0.2
_SEQUENCES, _RATE, _PATIENCE, _AT = 64, 1e-3, 5, 10


class SelfAttentive(nn.Module):
    """Two blocks of causal self-attention over the newest LENGTH videos; items are embedded by id alone.

    Shapes: codes_BL, oldest first, padded with 0 at the end -> [B, L, WIDTH]. The score of the video with code k as the
    next one is the product with row k of `items`. Source: Kang & McAuley 2018, Self-Attentive Sequential
    Recommendation; with cross-entropy over all videos in place of one sampled negative, which is stronger (Klenitskiy &
    Vasilev 2023, Turning Dross Into Gold Loss).
    """

    def __init__(self, items: int) -> None:
        super().__init__()
        self.items = nn.Embedding(items + 1, WIDTH, padding_idx=0)
        self.places = nn.Embedding(LENGTH, WIDTH)
        block = nn.TransformerEncoderLayer(WIDTH, HEADS, WIDTH, DROPOUT, batch_first=True, norm_first=True)
        self.blocks = nn.TransformerEncoder(block, BLOCKS, nn.LayerNorm(WIDTH), enable_nested_tensor=False)
        self.dropout = nn.Dropout(DROPOUT)
        nn.init.normal_(self.items.weight, std=0.02)
        nn.init.normal_(self.places.weight, std=0.02)

    def forward(self, codes_BL: Tensor) -> Tensor:
        """Return what is known after each video."""
        length = codes_BL.shape[1]
        embedded_BLW = self.dropout(self.items(codes_BL) * WIDTH**0.5 + self.places.weight[:length])
        later_LL = torch.ones(length, length, dtype=torch.bool).triu(1)
        known_BLW: Tensor = self.blocks(embedded_BLW, mask=later_LL)
        return known_BLW


@dataclass(frozen=True, slots=True)
class _Histories:
    """Views of Q people, oldest first: items[offsets[q]:offsets[q + 1]], rows of the feature matrix."""

    items: NDArray[np.int64]
    offsets: NDArray[np.int64]

    def newest(self, numbers: Rows) -> tuple[Tensor, Tensor]:
        """Return codes (row + 1) of the newest LENGTH videos [B, L], and the place of the newest [B]."""
        ends_B, starts_B = self.offsets[numbers + 1], self.offsets[numbers]
        starts_B = np.maximum(starts_B, ends_B - LENGTH)
        place_BL = starts_B[:, None] + np.arange((ends_B - starts_B).max(initial=1))
        codes_BL = np.where(place_BL < ends_B[:, None], self.items[np.minimum(place_BL, len(self.items) - 1)] + 1, 0)
        return torch.from_numpy(codes_BL), torch.from_numpy(ends_B - starts_B - 1)


def by_sasrec(users: UserSplit, user_queries: UserQueries, config: EvaluationConfig) -> Scorer:
    """Score by SASRec, trained on the training views; the validation queries choose the number of passes."""
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(config.seed)
        model = _trained(users, config)
    histories = _Histories(user_queries.items, user_queries.offsets)

    def for_candidates(candidates: Rows) -> Answer:
        known_C = users.views_N[candidates] > 0

        def answer(numbers: Rows) -> Scores:
            scores: Scores = np.where(known_C, _scores(model, histories, numbers)[:, candidates], -np.inf)
            return scores.astype(np.float32)

        return answer

    return for_candidates


def _trained(users: UserSplit, config: EvaluationConfig) -> SelfAttentive:
    model = SelfAttentive(users.training_UN.shape[1])
    optimizer = torch.optim.Adam(model.parameters(), lr=_RATE, betas=(0.9, 0.98))
    windows_SL, rng = _windows(users), np.random.default_rng(config.seed)
    kept, best, best_epoch = deepcopy(model), -1.0, 0
    for epoch in range(config.sasrec_epochs):
        model.train()
        for codes_BL in _batches(windows_SL, rng):
            known_BLW, next_BL = model(codes_BL[:, :-1]), codes_BL[:, 1:]
            real_BL = next_BL > 0
            loss = F.cross_entropy(known_BLW[real_BL] @ model.items.weight[1:].T, next_BL[real_BL] - 1)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
        now = _validated(model, users)
        if now > best:
            kept, best, best_epoch = deepcopy(model), now, epoch
        elif epoch - best_epoch >= _PATIENCE:
            break
    return kept.eval()


def _windows(users: UserSplit) -> NDArray[np.int64]:
    """Each person's training views in windows of LENGTH + 1, of which the last of one is the first of the next."""
    views = users.views
    trained_V = (users.periods == Period.TRAINING) & (users.views_N[views.rows] > 0)
    rows_V, users_V = views.rows[trained_V], views.users[trained_V]
    place_V = np.arange(len(rows_V)) - np.searchsorted(users_V, users_V)
    count_V = np.searchsorted(users_V, users_V, side="right") - np.searchsorted(users_V, users_V)
    starts_S = np.flatnonzero((place_V % LENGTH == 0) & (place_V < count_V - 1))
    inside_SL = starts_S[:, None] + np.arange(LENGTH + 1)
    ends_S1 = (starts_S - place_V[starts_S] + count_V[starts_S])[:, None]
    codes_SL: NDArray[np.int64] = np.where(inside_SL < ends_S1, rows_V[np.minimum(inside_SL, len(rows_V) - 1)] + 1, 0)
    return codes_SL


def _batches(windows_SL: NDArray[np.int64], rng: np.random.Generator) -> Iterator[Tensor]:
    order = rng.permutation(len(windows_SL))
    for start in range(0, len(order), _SEQUENCES):
        chosen_SL = windows_SL[order[start : start + _SEQUENCES]]
        yield torch.from_numpy(chosen_SL[:, : (chosen_SL > 0).sum(axis=1).max()])


def _validated(model: SelfAttentive, users: UserSplit) -> float:
    """The nDCG@10 of the validation queries among all videos with training views, without the history."""
    queries, model = users.validation, model.eval()
    numbers = np.arange(len(queries.targets_Q))
    if not len(numbers):
        return 0.0
    scores_QN = _scores(model, _Histories(queries.items, queries.offsets), numbers)
    scores_QN[:, users.views_N == 0] = -np.inf
    target_Q1 = np.take_along_axis(scores_QN, queries.targets_Q[:, None], axis=1)
    scores_QN[queries.history(scores_QN.shape[1]).toarray() > 0] = -np.inf
    ahead_Q = (scores_QN > target_Q1).sum(axis=1)
    gains_Q = np.where(np.isfinite(target_Q1[:, 0]) & (ahead_Q < _AT), 1 / np.log2(ahead_Q + 2), 0.0)
    return float(gains_Q.mean())


def _scores(model: SelfAttentive, histories: _Histories, numbers: Rows) -> Scores:
    with torch.inference_mode():
        codes_BL, last_B = histories.newest(numbers)
        known_BW = model(codes_BL)[torch.arange(len(last_B)), last_B]
        scores: Scores = (known_BW @ model.items.weight[1:].T).numpy()
    return scores

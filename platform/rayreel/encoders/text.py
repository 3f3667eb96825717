"""Text encoders: tokens of any number of texts through a network, and the pooling of its states."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs, Runtime, encode_groups

Pooling = Literal["mean", "cls", "max", "lasttoken", "mean_sqrt_len_tokens"]
POOLINGS = get_args(Pooling)
PADDED_TO = 32  # tokens
EXAMPLE = torch.ones(1, 16, dtype=torch.long)
# Maps texts to the ids of their tokens, cut to what the network accepts.
Tokenize = Callable[[list[str]], Sequence[Sequence[int]]]


class PooledText(nn.Module):
    """A transformer with pooling of its last states: [B, T] token ids and mask -> [B, dim].

    Several poolings are concatenated. `head` is applied to the pooled states, as are the modules after the pooling in
    a Sentence-Transformers checkpoint (Reimers and Gurevych 2019).
    """

    def __init__(self, backbone: nn.Module, poolings: Sequence[Pooling], head: nn.Module | None = None) -> None:
        super().__init__()
        backbone.loss_function = None  # type: ignore[assignment] # tracing reads it, and transformers would warn
        self.backbone, self.poolings, self.head = backbone, tuple(poolings), head or nn.Identity()

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Map token ids, and a mask that is 0 over padding and 1 elsewhere, to text vectors."""
        states_BTD: Tensor = self.backbone(ids_BT, attention_mask=mask_BT).last_hidden_state
        pooled = [_pooled(states_BTD, mask_BT, pooling) for pooling in self.poolings]
        vectors_BD: Tensor = self.head(pooled[0] if len(pooled) == 1 else torch.cat(pooled, dim=1))
        return vectors_BD


class UnitLength(nn.Module):
    """Scales vectors to unit length."""

    def forward(self, x_BD: Tensor) -> Tensor:
        """Scale each row."""
        return F.normalize(x_BD, dim=1)


def _pooled(states_BTD: Tensor, mask_BT: Tensor, pooling: Pooling) -> Tensor:
    if pooling == "cls":
        return states_BTD[:, 0]
    if pooling == "lasttoken":
        last_B11 = (mask_BT.sum(dim=1) - 1)[:, None, None].expand(-1, 1, states_BTD.shape[2])
        return states_BTD.gather(1, last_B11)[:, 0]
    if pooling == "max":
        return states_BTD.masked_fill(mask_BT[:, :, None] == 0, -torch.inf).amax(dim=1)
    weights_BT1 = mask_BT[:, :, None].to(states_BTD.dtype)
    length_B1 = weights_BT1.sum(dim=1)
    return (states_BTD * weights_BT1).sum(dim=1) / (length_B1 if pooling == "mean" else length_B1.sqrt())


@dataclass(frozen=True, slots=True)
class Prompts:
    """What a checkpoint puts before a query, and before a text that is searched for."""

    query: str = ""
    passage: str = ""


class TokenEncoder:
    """One vector per text: [N] strings -> [N, dim].

    If a pass takes several texts, each is padded to a length that depends on that text alone, never on its neighbours,
    up to `longest`, the most tokens that the network takes.
    """

    def __init__(
        self,
        runtime: Runtime,
        tokenize: Tokenize,
        *,
        dim: int,
        identity: str,
        pad_id: int = 0,
        prompts: Prompts = Prompts(),
        longest: int | None = None,
    ) -> None:
        self.identity, self.dim = identity, dim
        self._runtime, self._tokenize, self._pad_id, self._prompts = runtime, tokenize, pad_id, prompts
        self._step = 1 if runtime.rows == 1 else PADDED_TO
        self._longest = longest

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """Map N strings to [N, dim] float32; `query` selects the checkpoint's prompt for queries."""
        prompt = self._prompts.query if query else self._prompts.passage
        token_ids = self._tokenize([prompt + text for text in texts]) if texts else []
        return encode_groups(self._by_length(token_ids), self._runtime, len(texts), self.dim)

    def knows(self, word: str) -> bool:
        """Whether a word is a single token, as the letter a is; the others are put together of parts."""
        counts = [sum(id_ != self._pad_id for id_ in ids) for ids in self._tokenize([word, "a"])]
        return counts[0] <= counts[1]

    def _by_length(self, token_ids: Sequence[Sequence[int]]) -> Iterator[tuple[NDArray[np.intp], Inputs]]:
        """Group texts by padded length; a group is its texts' rows, ids and masks."""
        lengths_N = np.array([len(ids) for ids in token_ids], dtype=np.intp)
        padded_N = -(-lengths_N // self._step) * self._step
        if self._longest is not None:
            padded_N = np.minimum(padded_N, self._longest)
        for length in np.unique(padded_N):
            rows = np.flatnonzero(padded_N == length)
            mask_BT = (np.arange(length) < lengths_N[rows, None]).astype(np.int64)
            ids_BT = np.full_like(mask_BT, self._pad_id)
            ids_BT[mask_BT == 1] = np.concatenate([token_ids[row] for row in rows.tolist()])
            yield rows, (ids_BT, mask_BT)

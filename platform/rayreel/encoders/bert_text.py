"""Encode text with BERT networks: sentence embeddings (mean pooling) or the [CLS] state."""

import string
from collections.abc import Iterator
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from rayreel.encoders.batches import encode_groups
from rayreel.encoders.checkpoint import load_backbone, read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs
from rayreel.encoders.start import start

Pooling = Literal["unit_mean", "cls"]
HEADS = ("cls.", "pooler.", "embeddings.position_ids")
PADDED_TO = 32  # tokens
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class BertNetwork(nn.Module):
    """BERT with pooling of its states: [B, T] token ids and mask -> [B, dim]."""

    def __init__(self, backbone: BertModel, pooling: Pooling) -> None:
        super().__init__()
        backbone.loss_function = None  # tracing reads it, and transformers would warn that a backbone has none
        self.backbone, self.pooling = backbone, pooling

    def forward(self, ids_BT: Tensor, mask_BT: Tensor) -> Tensor:
        """Map token ids, and a mask that is 0 over padding and 1 elsewhere, to text vectors."""
        states_BTD: Tensor = self.backbone(ids_BT, attention_mask=mask_BT).last_hidden_state
        if self.pooling == "cls":
            return states_BTD[:, 0]
        weights_BT1 = mask_BT[:, :, None].to(states_BTD.dtype)
        return F.normalize((states_BTD * weights_BT1).sum(dim=1) / weights_BT1.sum(dim=1), dim=1)


class BertText:
    """One vector per text: [N] strings -> [N, dim].

    `unit_mean` averages the token states (padding left out) and scales to unit length, as sentence-transformers does
    (Reimers and Gurevych 2019); `cls` takes the first token's state. Texts beyond `max_tokens` are cut. If a pass
    takes several texts, each is padded to a length that depends on that text alone, never on its neighbours.
    """

    def __init__(
        self,
        backbone: BertModel,
        tokenizer: Tokenizer,
        *,
        pooling: Pooling,
        max_tokens: int,
        identity: str,
        compute: Compute,
    ) -> None:
        self.identity, self.dim = identity, int(backbone.config.hidden_size)
        example = torch.ones(1, 16, dtype=torch.long)
        self._runtime = start(BertNetwork(backbone, pooling), (example, example), compute, any_length=True)
        self._step = 1 if self._runtime.rows == 1 else PADDED_TO
        tokenizer.enable_truncation(max_tokens)
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Vectors:
        """Map N strings to [N, dim] float32."""
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        return encode_groups(_by_length(token_ids, self._step), self._runtime, len(texts), self.dim)


def _by_length(token_ids: list[list[int]], step: int) -> Iterator[tuple[NDArray[np.intp], Inputs]]:
    """Group texts by their length, padded to a multiple of `step`; a group is its texts' rows, ids and masks."""
    lengths_N = np.array([len(ids) for ids in token_ids], dtype=np.intp)
    padded_N = -(-lengths_N // step) * step
    for length in np.unique(padded_N):
        rows = np.flatnonzero(padded_N == length)
        mask_BT = (np.arange(length) < lengths_N[rows, None]).astype(np.int64)
        ids_BT = np.zeros_like(mask_BT)
        ids_BT[mask_BT == 1] = np.concatenate([token_ids[row] for row in rows])
        yield rows, (ids_BT, mask_BT)


def load_sentence_bert(folder: Path | None, identity: str, compute: Compute) -> BertText:
    """Load a sentence-transformers BERT, 384-d and at most 256 tokens for all-MiniLM-L6-v2.

    Without a folder the parameters are random.
    """
    backbone, tokenizer = _random_bert(384) if folder is None else _read_bert(folder)
    return BertText(backbone, tokenizer, pooling="unit_mean", max_tokens=256, identity=identity, compute=compute)


def load_bert(folder: Path | None, identity: str, compute: Compute) -> BertText:
    """Load a pre-trained BERT, 768-d and at most 512 tokens for bert-base-uncased (Devlin et al. 2019).

    Without a folder the parameters are random.
    """
    backbone, tokenizer = _random_bert(768) if folder is None else _read_bert(folder)
    return BertText(backbone, tokenizer, pooling="cls", max_tokens=512, identity=identity, compute=compute)


def _read_bert(folder: Path) -> tuple[BertModel, Tokenizer]:
    config = BertConfig.from_pretrained(folder)
    network = BertModel(config, add_pooling_layer=False)
    load_backbone(network, read_state(folder / "model.safetensors"), "bert.", HEADS)
    return network, Tokenizer.from_file(str(folder / "tokenizer.json"))


def _random_bert(dim: int) -> tuple[BertModel, Tokenizer]:
    """One layer of the real width over a vocabulary of characters."""
    characters = string.ascii_lowercase + string.digits + string.punctuation
    pieces = [*SPECIAL, *characters, *(f"##{character}" for character in characters)]
    tokenizer = Tokenizer(models.WordPiece({piece: i for i, piece in enumerate(pieces)}, unk_token=SPECIAL[1]))
    tokenizer.normalizer = normalizers.BertNormalizer()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 3), ("[CLS]", 2))
    config = BertConfig(
        vocab_size=len(pieces), hidden_size=dim, intermediate_size=4 * dim, num_attention_heads=12, num_hidden_layers=1
    )
    return BertModel(config, add_pooling_layer=False), tokenizer

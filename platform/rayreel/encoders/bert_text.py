"""Text to vectors by the BERT family: sentence embeddings (mean pooling) or the [CLS] state."""

import string
from pathlib import Path
from typing import Literal

import numpy as np
import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import BertConfig, BertModel

from rayreel.encoders.batches import encode_batches
from rayreel.encoders.checkpoint import load_backbone, read_state
from rayreel.encoders.encoder import Vectors

Pooling = Literal["unit_mean", "cls"]
HEADS = ("cls.", "pooler.", "embeddings.position_ids")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


class BertText:
    """One vector per text: [N] strings -> [N, dim].

    `unit_mean` averages the token states (padding left out) and scales to unit length, as sentence-transformers does
    (Reimers and Gurevych 2019); `cls` takes the first token's state. Texts beyond `max_tokens` are cut. Batches are
    made of texts of similar length, because attention over padding is time spent for nothing.
    """

    def __init__(
        self,
        network: nn.Module,
        tokenizer: Tokenizer,
        *,
        pooling: Pooling,
        max_tokens: int,
        dim: int,
        identity: str,
        device: torch.device,
        batch: int,
    ) -> None:
        self.identity, self.dim = identity, dim
        self._device, self._batch, self._pooling = device, batch, pooling
        self._network = network.eval().to(device)
        tokenizer.enable_truncation(max_tokens)
        tokenizer.no_padding()
        self._tokenizer = tokenizer

    def encode(self, texts: list[str]) -> Vectors:
        """Map N strings to [N, dim] float32."""
        token_ids = [encoding.ids for encoding in self._tokenizer.encode_batch(texts)]
        order = np.argsort([len(ids) for ids in token_ids], kind="stable")
        out_ND = np.empty((len(texts), self.dim), dtype=np.float32)
        out_ND[order] = encode_batches([token_ids[i] for i in order], self._batch, self.dim, self._encode)
        return out_ND

    def _encode(self, token_ids: list[list[int]]) -> Tensor:
        rows = [torch.tensor(ids) for ids in token_ids]
        ids_BT = nn.utils.rnn.pad_sequence(rows, batch_first=True).to(self._device)
        lengths_B = torch.tensor([len(ids) for ids in token_ids], device=self._device)
        mask_BT = torch.arange(ids_BT.shape[1], device=self._device) < lengths_B[:, None]
        states_BTD: Tensor = self._network(ids_BT, attention_mask=mask_BT.long()).last_hidden_state
        if self._pooling == "cls":
            return states_BTD[:, 0]
        return F.normalize((states_BTD * mask_BT[:, :, None]).sum(dim=1) / lengths_B[:, None], dim=1)


def load_sentence_bert(folder: Path | None, identity: str, device: torch.device, batch: int) -> BertText:
    """A sentence-transformers BERT, 384-d and at most 256 tokens for all-MiniLM-L6-v2."""
    network, tokenizer, dim = _random_bert(384) if folder is None else _read_bert(folder)
    return BertText(
        network, tokenizer, pooling="unit_mean", max_tokens=256, dim=dim, identity=identity, device=device, batch=batch
    )


def load_bert(folder: Path | None, identity: str, device: torch.device, batch: int) -> BertText:
    """A pre-trained BERT, 768-d and at most 512 tokens for bert-base-uncased (Devlin et al. 2019)."""
    network, tokenizer, dim = _random_bert(768) if folder is None else _read_bert(folder)
    return BertText(
        network, tokenizer, pooling="cls", max_tokens=512, dim=dim, identity=identity, device=device, batch=batch
    )


def _read_bert(folder: Path) -> tuple[nn.Module, Tokenizer, int]:
    config = BertConfig.from_pretrained(folder)
    network = BertModel(config, add_pooling_layer=False)
    load_backbone(network, read_state(folder / "model.safetensors"), "bert.", HEADS)
    return network, Tokenizer.from_file(str(folder / "tokenizer.json")), config.hidden_size


def _random_bert(dim: int) -> tuple[nn.Module, Tokenizer, int]:
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
    return BertModel(config, add_pooling_layer=False), tokenizer, dim

"""Load text encoders of BERT networks: sentence embeddings (mean pooling) or the [CLS] state."""

import string
from pathlib import Path

from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
from transformers import BertConfig, BertModel

from rayreel.encoders.checkpoint import load_backbone, read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.runtime import start
from rayreel.encoders.text import EXAMPLE, PooledText, TokenEncoder, UnitLength

HEADS = ("cls.", "pooler.", "embeddings.position_ids")
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]")


def load_sentence_bert(folder: Path | None, identity: str, compute: Compute) -> TokenEncoder:
    """Load a sentence-transformers BERT, 384-d and at most 256 tokens for all-MiniLM-L6-v2.

    It averages the token states, padding left out, and scales to unit length. Without a folder the parameters are
    random.
    """
    backbone, tokenizer = _random_bert(384) if folder is None else _read_bert(folder)
    tokenizer.enable_truncation(256)
    return _encoder(backbone, tokenizer, PooledText(backbone, ["mean"], UnitLength()), identity, compute)


def load_bert(folder: Path | None, identity: str, compute: Compute) -> TokenEncoder:
    """Load a pre-trained BERT, 768-d and at most 512 tokens for bert-base-uncased (Devlin et al. 2019).

    It takes the state of the first token. Without a folder the parameters are random.
    """
    backbone, tokenizer = _random_bert(768) if folder is None else _read_bert(folder)
    tokenizer.enable_truncation(512)
    return _encoder(backbone, tokenizer, PooledText(backbone, ["cls"]), identity, compute)


def _encoder(
    backbone: BertModel, tokenizer: Tokenizer, network: PooledText, identity: str, compute: Compute
) -> TokenEncoder:
    tokenizer.no_padding()
    return TokenEncoder(
        start(network, (EXAMPLE, EXAMPLE), compute, any_length=True),
        lambda texts: [encoding.ids for encoding in tokenizer.encode_batch(texts)],
        dim=int(backbone.config.hidden_size),
        identity=identity,
    )


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

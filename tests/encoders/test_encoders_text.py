from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import save_file
from transformers import AutoTokenizer, BertConfig, BertForPreTraining, BertModel, BertTokenizer

from rayreel.encoders.bert_text import load_bert
from rayreel.encoders.compute import Compute
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoder
from rayreel.encoders.text import TokenEncoder

WORDS = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "a", "dog", "runs", "cat", "sleeps", "##ing"]
TEXTS = ["a dog", "a cat sleeps and a dog runs", "runs", "", "a a a a a"]


@pytest.fixture(scope="module")
def pretraining() -> BertForPreTraining:
    torch.manual_seed(1)
    config = BertConfig(
        vocab_size=len(WORDS), hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48
    )
    return BertForPreTraining(config).eval()


@pytest.fixture(scope="module")
def hub_folder(pretraining: BertForPreTraining, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint in the format of the hub: pre-training heads, and LayerNorm parameters under their old names."""
    folder = tmp_path_factory.mktemp("bert-base-uncased")
    pretraining.config.save_pretrained(folder)
    BertTokenizer(vocab={word: i for i, word in enumerate(WORDS)}).save_pretrained(folder)
    state = {
        key.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"): value.clone()
        for key, value in pretraining.state_dict().items()
    }
    save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    return folder


@pytest.fixture(scope="module")
def minilm(weights_cache: Path) -> TokenEncoder:
    encoder = load_encoder(Modality.TEXT, EncodersConfig(device="cpu"), weights_cache)
    assert isinstance(encoder, TokenEncoder)
    return encoder


def test_bert_returns_the_cls_state_of_the_hub_network(
    pretraining: BertForPreTraining, hub_folder: Path, compute: Compute
) -> None:
    encoder, tokenizer = load_bert(hub_folder, "bert@test", compute), AutoTokenizer.from_pretrained(hub_folder)
    with torch.inference_mode():
        states = [pretraining.bert(**tokenizer(text, return_tensors="pt")).last_hidden_state for text in TEXTS]
    np.testing.assert_allclose(encoder.encode(TEXTS), torch.cat([s[:, 0] for s in states]), atol=1e-5)
    assert encoder.dim == 24


def test_a_bert_checkpoint_without_a_parameter_is_rejected(
    pretraining: BertForPreTraining, hub_folder: Path, compute: Compute, tmp_path: Path
) -> None:
    for file in hub_folder.iterdir():
        (tmp_path / file.name).write_bytes(file.read_bytes())
    state = {key: value.clone() for key, value in pretraining.state_dict().items() if "layer.1.output" not in key}
    save_file(state, tmp_path / "model.safetensors")
    with pytest.raises(RuntimeError, match=r"layer\.1\.output"):
        load_bert(tmp_path, "bert@test", compute)


def test_minilm_equals_masked_mean_pooling(minilm: TokenEncoder, weights_cache: Path) -> None:
    folder = weights_cache / "all-MiniLM-L6-v2"
    network, tokenizer = BertModel.from_pretrained(folder).eval(), AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        states = [network(**tokenizer(text, return_tensors="pt")).last_hidden_state[0].mean(dim=0) for text in TEXTS]
    expected = torch.nn.functional.normalize(torch.stack(states), dim=1)
    np.testing.assert_allclose(minilm.encode(TEXTS), expected, atol=1e-5)


def test_minilm_vectors_of_similar_texts_are_close(minilm: TokenEncoder) -> None:
    dog, puppy, stocks = minilm.encode(["a dog runs", "puppy running", "stock market"])
    assert dog @ puppy > 0.5
    assert dog @ puppy > dog @ stocks + 0.3


def test_a_word_is_known_unless_it_is_put_together_of_parts(minilm: TokenEncoder) -> None:
    assert [word for word in ("Barking", "barkng", "woods", "wooods") if minilm.knows(word)] == ["Barking", "woods"]
    assert not load_encoder(Modality.TEXT, EncodersConfig(text="hashed_words"), Path("unused")).knows("woods")


def test_minilm_reads_at_most_256_tokens(minilm: TokenEncoder) -> None:
    long = "dog " * 250
    cut, read, unread = minilm.encode([long, "dog " * 200 + "stocks " * 50, "dog " * 254 + "stocks " * 50])
    np.testing.assert_allclose(unread, minilm.encode(["dog " * 254])[0], atol=1e-5)
    assert cut @ read < 0.99


def test_no_texts_give_no_vectors(minilm: TokenEncoder) -> None:
    assert minilm.encode([]).shape == (0, 384)

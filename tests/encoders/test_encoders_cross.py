"""Cross-encoders from checkpoints in the hub's format."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers as tf

import checkpoints
from rayreel.encoders.cross_encoder import load_cross_encoder
from rayreel.encoders.trained import UnknownEncoder
from rayreel.errors import RayreelError

QUERY, TEXTS = "a dog", ["two dogs", "stocks fall a cat sleeps a dog runs", "cat"] * 7
CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    made = tmp_path_factory.mktemp("cross")
    checkpoints.cross_encoder(made)
    return made


def by_transformers(folder: Path, text: str) -> float:
    classifier: Any = tf.AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.inference_mode():
        return float(classifier(**tf.AutoTokenizer.from_pretrained(folder)(QUERY, text, return_tensors="pt")).logits[0])


def test_scores_are_those_of_transformers_in_any_number(folder: Path, tmp_path: Path) -> None:
    encoder = load_cross_encoder(str(folder), None, tmp_path, CPU)
    scores = encoder.score(QUERY, TEXTS)
    np.testing.assert_allclose(scores[:3], [by_transformers(folder, text) for text in TEXTS[:3]], atol=1e-5)
    np.testing.assert_allclose(scores, np.tile(scores[:3], 7), atol=1e-5)
    assert len(set(scores[:3].round(4))) == 3 and encoder.score(QUERY, []).shape == (0,)


def test_what_is_no_cross_encoder_is_rejected(tmp_path: Path) -> None:
    checkpoints.bert(tmp_path)
    with pytest.raises(RayreelError, match="no cross-encoder"):
        load_cross_encoder(str(tmp_path), None, tmp_path, CPU)
    with pytest.raises(UnknownEncoder, match=r"recommend\.reranker"):
        load_cross_encoder("all_minilm_l6_v2", None, tmp_path, CPU)

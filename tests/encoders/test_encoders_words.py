"""Encoders without weights, and TF-IDF of what they give."""

from pathlib import Path

import numpy as np
import pytest
from sklearn.feature_extraction.text import TfidfVectorizer

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoders
from rayreel.tower.embed import EmptyQuery, embed_query
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.save import load_tower, save_tower
from rayreel.training.frozen import WORDS

TEXTS = [
    "How to bake bread, and how to store the bread",
    "Baking a cake at home",
    "The tide is rising: how to read a tide table",
    "Crème brûlée at home",
    "how to tie a knot, how to tie a tie",
    "Ein Brot backen",
]
ENCODERS = load_encoders(EncodersConfig(preset="words"), Path("unused"))


def fitted() -> FrozenFeatures:
    tower = FrozenFeatures(WORDS, ENCODERS.dims)
    tower.fit_inputs({Modality.TEXT: ENCODERS.text.encode(TEXTS).astype(np.float16)})
    return tower


def embedded(tower: FrozenFeatures, text: str) -> np.ndarray:
    return embed_query(tower, {Modality.TEXT: ENCODERS.text.encode([text])})


def test_cosines_are_those_of_scikit_learns_tf_idf_up_to_the_noise_of_shared_places() -> None:
    tower = fitted()
    ours_ND = np.stack([embedded(tower, text) for text in TEXTS])
    vectorizer = TfidfVectorizer(strip_accents="unicode", token_pattern=r"[^\W_]+")
    counts_NV = vectorizer.fit(TEXTS).transform(TEXTS).toarray() / vectorizer.idf_
    counts_NV /= np.where(counts_NV > 0, counts_NV, np.inf).min(axis=1, keepdims=True)
    theirs_NV = np.log1p(counts_NV) * vectorizer.idf_
    theirs_NV /= np.linalg.norm(theirs_NV, axis=1, keepdims=True)
    np.testing.assert_allclose(ours_ND @ ours_ND.T, theirs_NV @ theirs_NV.T, atol=0.08)


def test_a_rare_word_of_a_query_counts_more_than_frequent_ones_also_without_its_accents(tmp_path: Path) -> None:
    save_tower(fitted(), tmp_path)
    loaded = load_tower(tmp_path)
    assert isinstance(loaded, FrozenFeatures)
    found = np.stack([embedded(loaded, text) for text in TEXTS]) @ embedded(loaded, "how to make a creme brulee")
    assert int(found.argmax()) == 3


def test_a_text_without_words_is_no_query() -> None:
    with pytest.raises(EmptyQuery):
        embedded(fitted(), "🙂 !")


def test_a_colour_layout_has_the_mean_colours_of_its_cells() -> None:
    frames = np.zeros((2, 224, 224, 3), np.uint8)
    frames[1, :28, 28:56] = (255, 0, 51)
    vectors = ENCODERS.visual.encode(frames).reshape(2, 8, 8, 3)
    np.testing.assert_allclose(vectors[1, 0, 1], [1, 0, 0.2], atol=1e-6)
    assert vectors[0].sum() == 0 and np.count_nonzero(vectors[1]) == 2
    assert ENCODERS.visual.encode(frames[:0]).shape == (0, 192)

import logging
from pathlib import Path

import numpy as np
import pytest

import checkpoints
from feature_rows import KEY, feature_row, feature_table
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_word_encoders
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.training.words import mean_words

EVERYTHING = SplitConfig(validation=0, test=0)


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> EncodersConfig:
    folder = tmp_path_factory.mktemp("weights") / "clip-tiny"
    checkpoints.clip(folder)
    return EncodersConfig(visual=str(folder), text=str(folder), device="cpu", runtime="torch")


def store(root: Path, titles: list[str]) -> FeatureStore:
    made = FeatureStore(Storage(root), KEY)
    made.create()
    rows = [feature_row(f"v{n}", title=title) for n, title in enumerate(titles)]
    made.add(feature_table(*rows), QUARANTINE.empty_table())
    made.set_catalog([(f"v{n}", "1") for n in range(len(titles))])
    return made


def test_the_mean_is_that_of_different_titles_as_queries_in_words(clip: EncodersConfig, tmp_path: Path) -> None:
    found = mean_words(store(tmp_path, ["a dog", "a cat runs", "", "a dog"]), clip, tmp_path, EVERYTHING)
    queries = load_word_encoders(clip, tmp_path).encode(["a dog", "a cat runs"])
    assert list(found) == [Modality.VISUAL]
    expected = np.concatenate([query[Modality.VISUAL] for query in queries]).mean(axis=0)
    np.testing.assert_allclose(found[Modality.VISUAL], expected, atol=1e-6)


def test_titles_of_held_out_videos_have_no_part_in_the_mean(clip: EncodersConfig, tmp_path: Path) -> None:
    titles, splits = (
        ["a dog", "a cat runs", "the dog", "dog runs", "a cat", "runs"],
        SplitConfig(validation=0.25, test=0.25),
    )
    made = store(tmp_path, titles)
    held_out = Exam.of(FeatureMatrix.from_table(made.read()), splits, EvaluationConfig()).split
    train = [titles[row] for row in held_out.train]
    assert 0 < len(train) < len(titles)
    expected = mean_words(store(tmp_path / "train", train), clip, tmp_path, EVERYTHING)
    found = mean_words(made, clip, tmp_path, splits)
    np.testing.assert_allclose(found[Modality.VISUAL], expected[Modality.VISUAL], atol=1e-6)


def test_without_titles_there_is_no_mean_and_a_warning(
    clip: EncodersConfig, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.WARNING):
        assert mean_words(store(tmp_path, ["", ""]), clip, tmp_path, EVERYTHING) == {}
    assert "no training video has a title" in caplog.text


def test_encoders_without_a_text_side_are_not_loaded(tmp_path: Path) -> None:
    assert mean_words(store(tmp_path, ["a dog"]), EncodersConfig(), tmp_path, EVERYTHING) == {}
    assert not list(tmp_path.glob("**/*.safetensors"))

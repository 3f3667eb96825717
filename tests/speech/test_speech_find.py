"""Where the model is, and whether speech is recognised."""

from pathlib import Path

import pytest
from pydantic import ValidationError

from rayreel.encoders.weights import HubRepo, UnreachableWeights
from rayreel.settings import load_settings
from rayreel.speech.config import SpeechConfig, source_of
from rayreel.speech.find import find_speech


def made(folder: Path) -> Path:
    """A folder with the files of a model, which is never loaded."""
    folder.mkdir(parents=True)
    for name in ("model.bin", "config.json", "tokenizer.json", "vocabulary.txt"):
        (folder / name).write_text("{}")
    return folder


def key_of(folder: Path, cache: Path, **settings: object) -> str:
    found = find_speech(SpeechConfig.model_validate({"model": str(folder), **settings}), None, cache)
    assert found is not None
    return found.key


def test_auto_uses_a_model_that_is_here_and_downloads_none(tmp_path: Path) -> None:
    assert find_speech(SpeechConfig(), None, tmp_path) is None
    assert find_speech(SpeechConfig(model="small"), tmp_path, tmp_path) is None
    made(tmp_path / "faster-whisper-small")
    found = find_speech(SpeechConfig(model="small"), tmp_path, tmp_path)
    assert found is not None and found.key.startswith("small-")
    assert find_speech(SpeechConfig(model="small", mode="off"), tmp_path, tmp_path) is None


def test_on_without_a_model_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UnreachableWeights, match="not a complete checkpoint"):
        find_speech(SpeechConfig(mode="on", model=str(tmp_path / "none")), None, tmp_path)


def test_what_decides_about_transcripts_decides_about_the_key(tmp_path: Path) -> None:
    folder = made(tmp_path / "mine")
    keys = {
        key_of(folder, tmp_path / "cache", **change) for change in ({}, {"language": "de"}, {"first_s": 9}, {"beam": 1})
    }
    (folder / "model.bin").write_text("other weights")
    assert len(keys | {key_of(folder, tmp_path / "cache")}) == 5
    assert key_of(folder, tmp_path / "cache") == key_of(folder, tmp_path / "cache", batch=1, device="cpu", mode="on")


def test_a_model_has_a_name_a_repository_or_a_folder(tmp_path: Path) -> None:
    assert source_of("hf:org/whisper@abc") == HubRepo("org/whisper", "abc", "ctranslate2")
    assert source_of(str(tmp_path)) == tmp_path
    with pytest.raises(ValidationError, match="no speech model 'huge'"):
        SpeechConfig(model="huge")


def test_on_and_off_are_modes_though_yaml_reads_them_as_booleans() -> None:
    modes = [load_settings(sets=[f"speech.mode={mode}"]).speech.mode for mode in ("on", "off", "auto")]
    assert modes == ["on", "off", "auto"]

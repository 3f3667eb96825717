"""Parakeet through transformers, on a tiny checkpoint in the hub's own format."""

import json
import string
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer, decoders, models
from transformers import (
    ParakeetCTCConfig,
    ParakeetFeatureExtractor,
    ParakeetForCTC,
    ParakeetProcessor,
    ParakeetTokenizer,
)

from rayreel.encoders.hub_files import CTRANSLATE2, TRANSFORMERS, format_of
from rayreel.errors import RayreelError
from rayreel.speech.config import SpeechConfig, source_of
from rayreel.speech.parakeet import Parakeet
from rayreel.speech.transcriber import load_transcriber
from rayreel.speech.transcript import Transcript
from rayreel.speech.voice import find_voice
from speaking import chord, silence, spoken_track

LETTERS = ["\u2581", *string.ascii_lowercase]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A network of random weights, whose words are random letters."""
    made = tmp_path_factory.mktemp("parakeet")
    torch.manual_seed(0)
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 64}
    config = ParakeetCTCConfig(
        vocab_size=len(LETTERS) + 1,
        pad_token_id=len(LETTERS),
        encoder_config={**sizes, "subsampling_conv_channels": 8, "num_mel_bins": 80, "initializer_range": 0.5},
    )
    network = ParakeetForCTC(config).eval()
    network.ctc_head.bias.data[-1] = -10  # silence is seldom the best guess
    network.save_pretrained(made)
    tokenizer = Tokenizer(models.Unigram([(letter, 0.0) for letter in LETTERS] + [("<pad>", 0.0)], unk_id=0))
    tokenizer.decoder = decoders.Metaspace()
    tokens = ParakeetTokenizer(tokenizer_object=tokenizer, pad_token="<pad>")
    ParakeetProcessor(ParakeetFeatureExtractor(), tokens).save_pretrained(made)
    return made


def test_a_transcript_is_what_the_familys_own_processor_and_model_say(folder: Path) -> None:
    track = np.concatenate([silence(2), spoken_track(), silence(1.5), spoken_track()[: 2 * 16_000]])
    found, nothing, music = load_transcriber(folder, SpeechConfig(device="cpu", batch=2)).transcribe(
        [track, silence(2), chord(2)]
    )
    network, processor = ParakeetForCTC.from_pretrained(folder).eval(), ParakeetProcessor.from_pretrained(folder)
    voice = find_voice(track)
    assert voice is not None and len(voice.regions) >= 2 and isinstance(found, Transcript)
    expected = []
    for region in voice.regions:
        sound = track[region["start"] : region["end"]].astype(np.float32) / 32768
        with torch.inference_mode():
            ids = network.generate(**processor(sound, sampling_rate=16_000))
        expected.append(processor.batch_decode(ids, skip_special_tokens=True)[0].strip())
    assert all(expected) and len(set("".join(expected))) > 5
    assert [segment.text for segment in found.segments] == expected
    assert [(s.start_s, s.end_s) for s in found.segments] == [
        (region["start"] / 16_000, region["end"] / 16_000) for region in voice.regions
    ]
    assert found.language == "en" and nothing == music == Transcript()


def test_a_checkpoint_without_a_parameter_is_rejected_because_it_would_be_random(folder: Path, tmp_path: Path) -> None:
    for path in folder.iterdir():
        (tmp_path / path.name).write_bytes(path.read_bytes())
    state = load_file(folder / "model.safetensors")
    del state["ctc_head.bias"]
    save_file(state, tmp_path / "model.safetensors", {"format": "pt"})
    with pytest.raises(RayreelError, match=r"no parameter ctc_head\.bias"):
        Parakeet(tmp_path, SpeechConfig(device="cpu"))


def test_a_checkpoint_of_another_kind_is_rejected_by_name(folder: Path, tmp_path: Path) -> None:
    config = json.loads((folder / "config.json").read_text()) | {"architectures": ["BertModel"]}
    (tmp_path / "config.json").write_text(json.dumps(config))
    with pytest.raises(RayreelError, match="is a BertModel"):
        Parakeet(tmp_path, SpeechConfig(device="cpu"))


def test_the_format_of_a_repository_follows_from_its_name() -> None:
    for model, form in (
        ("parakeet-tdt-0.6b-v3", TRANSFORMERS),
        ("hf:nvidia/parakeet-ctc-1.1b@abc", TRANSFORMERS),
        ("hf:org/whisper@abc", CTRANSLATE2),
    ):
        source = source_of(model)
        assert not isinstance(source, Path)
        assert format_of(source) is form  # type: ignore[arg-type]

from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from transformers import Wav2Vec2Config, Wav2Vec2FeatureExtractor, Wav2Vec2ForPreTraining
from transformers.audio_utils import mel_filter_bank

from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample
from rayreel.encoders.compute import Compute
from rayreel.encoders.logmel import LogMelAudio
from rayreel.encoders.vggish import load_vggish
from rayreel.encoders.wav2vec import Wav2Vec2Audio, load_wav2vec2
from rayreel.media.render.encode import SAMPLE_RATE, synthesise

TINY = Wav2Vec2Config(
    hidden_size=24, num_hidden_layers=2, num_attention_heads=2, intermediate_size=48, conv_dim=(16,) * 7,
    num_conv_pos_embeddings=16, num_conv_pos_embedding_groups=4, codevector_dim=8, proj_codevector_dim=8,
)  # fmt: skip


@pytest.fixture(scope="module")
def log_mel(compute: Compute) -> LogMelAudio:
    return LogMelAudio("log_mel", compute)


@pytest.fixture(scope="module")
def pretraining() -> Wav2Vec2ForPreTraining:
    torch.manual_seed(1)
    return Wav2Vec2ForPreTraining(TINY).eval()


@pytest.fixture(scope="module")
def wav2vec2(
    pretraining: Wav2Vec2ForPreTraining, compute: Compute, tmp_path_factory: pytest.TempPathFactory
) -> Wav2Vec2Audio:
    """Load a checkpoint in the format of the hub: a pickle with pre-training heads and old weight norm names."""
    folder = tmp_path_factory.mktemp("wav2vec2-base")
    old = {"parametrizations.weight.original0": "weight_g", "parametrizations.weight.original1": "weight_v"}
    state = pretraining.state_dict()
    for new_name, old_name in old.items():
        state = {key.replace(new_name, old_name): value for key, value in state.items()}
    torch.save(state, folder / "pytorch_model.bin")
    TINY.save_pretrained(folder)
    return load_wav2vec2(folder, "wav2vec2@test", compute)


def tone(hertz: float, seconds: float = 0.5) -> np.ndarray:
    t = np.arange(int(16_000 * seconds)) / 16_000
    return (0.5 * np.sin(2 * np.pi * hertz * t)).astype(np.float32)


def log_mel_reference(window: np.ndarray) -> np.ndarray:
    """Return the statistics of one window as the formula of stored features has them, in double precision."""
    spectra = np.array([window[at : at + 512] for at in range(0, len(window) - 511, 160)])
    hann = np.pad(0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400)), 56)
    mel = np.log(abs(np.fft.rfft(spectra * hann)) @ mel_filter_bank(257, 64, 125.0, 7500.0, 16_000) + 0.01)
    return np.concatenate([mel.mean(axis=0), mel.std(axis=0), abs(np.diff(mel, axis=0)).mean(axis=0)])


def sample_windows() -> np.ndarray:
    """Return two seconds of the sound of two rendered clips."""
    clips = plan_sample(SampleConfig(clips=2, min_seconds=2.5, max_seconds=3.0))
    step = SAMPLE_RATE // 16_000
    return np.stack([synthesise(clip)[::step][:32_000] for clip in clips]).astype(np.float32)


def test_log_mel_equals_the_formula_of_stored_features(log_mel: LogMelAudio) -> None:
    windows = sample_windows()
    expected = [log_mel_reference(window) for window in windows]
    np.testing.assert_allclose(log_mel.encode(windows), expected, atol=1e-4)


@pytest.mark.parametrize("hertz", [440.0, 1000.0, 3000.0, 6000.0])
def test_a_pure_tone_is_loudest_in_its_own_mel_band(log_mel: LogMelAudio, hertz: float) -> None:
    mel = 2595 * np.log10(1 + np.array([125.0, 7500.0, hertz]) / 700)
    centres = np.linspace(mel[0], mel[1], 66)[1:-1]
    loudest = int(log_mel.encode(tone(hertz)[None])[0, :64].argmax())
    assert abs(loudest - int(np.abs(centres - mel[2]).argmin())) <= 1


def test_a_steady_tone_changes_less_over_time_than_a_chirp(log_mel: LogMelAudio) -> None:
    t = np.arange(8000) / 16_000
    chirp = np.sin(2 * np.pi * (300 * t + 4000 * t**2)).astype(np.float32)
    change = log_mel.encode(np.stack([tone(1000), chirp]))[:, 128:].mean(axis=1)
    assert change[1] > 3 * change[0]


def test_log_mel_of_silence_and_of_a_short_click_is_finite(log_mel: LogMelAudio) -> None:
    assert np.isfinite(log_mel.encode(np.zeros((2, 8000), dtype=np.float32))).all()
    assert np.isfinite(log_mel.encode(np.ones((1, 10), dtype=np.float32))).all()


def test_no_windows_give_no_vectors(log_mel: LogMelAudio, wav2vec2: Wav2Vec2Audio) -> None:
    assert log_mel.encode(np.zeros((0, 8000), dtype=np.float32)).shape == (0, 192)
    assert wav2vec2.encode(np.zeros((0, 8000), dtype=np.float32)).shape == (0, 24)


def test_wav2vec2_equals_the_original_feature_extractor_and_network(
    pretraining: Wav2Vec2ForPreTraining, wav2vec2: Wav2Vec2Audio
) -> None:
    windows = np.random.default_rng(0).normal(0.2, 0.1, (3, 4000)).astype(np.float32)
    inputs = Wav2Vec2FeatureExtractor(do_normalize=True)(list(windows), sampling_rate=16_000, return_tensors="pt")
    with torch.inference_mode():
        expected = pretraining.wav2vec2(inputs.input_values).last_hidden_state.mean(dim=1)
    np.testing.assert_allclose(wav2vec2.encode(windows), expected, atol=1e-4)


def test_wav2vec2_of_silence_and_of_a_click_is_finite(wav2vec2: Wav2Vec2Audio) -> None:
    assert np.isfinite(wav2vec2.encode(np.zeros((1, 4000), dtype=np.float32))).all()
    assert np.isfinite(wav2vec2.encode(np.ones((1, 10), dtype=np.float32))).all()


def vggish_reference(network: nn.Module, window: np.ndarray) -> np.ndarray:
    """Return the mean vector of a window, computed as in TensorFlow's and torchvggish's sources."""
    frames = [window[at : at + 400] for at in range(0, len(window) - 399, 160)]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi / 400 * np.arange(400))
    spectrum = np.abs(np.fft.rfft(np.array(frames) * hann, 512))
    mels = 1127 * np.log(1 + np.linspace(0, 8000, 257) / 700)
    edges = np.linspace(1127 * np.log(1 + 125 / 700), 1127 * np.log(1 + 7500 / 700), 66)
    bank = [
        np.maximum(0, np.minimum((mels - low) / (mid - low), (high - mels) / (high - mid)))
        for low, mid, high in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    log_mel = np.log(spectrum @ np.array(bank).T + 0.01)
    examples = torch.tensor(log_mel[: len(log_mel) // 96 * 96].reshape(-1, 1, 96, 64), dtype=torch.float32)
    features, embeddings = list(network.children())
    with torch.inference_mode():
        x = torch.transpose(torch.transpose(features(examples), 1, 3), 1, 2).contiguous()
        vectors: np.ndarray = embeddings(x.view(len(x), -1)).mean(dim=0).numpy()
    return vectors


def test_vggish_loads_torchvggishs_checkpoint_and_returns_its_mean_vectors(tmp_path: Path, compute: Compute) -> None:
    torch.manual_seed(5)
    layers = [nn.Conv2d(1, 64, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)]
    layers += [nn.Conv2d(64, 128, 3, padding=1), nn.ReLU(), nn.MaxPool2d(2, 2)]
    layers += [nn.Conv2d(128, 256, 3, padding=1), nn.ReLU(), nn.Conv2d(256, 256, 3, padding=1), nn.ReLU()]
    layers += [nn.MaxPool2d(2, 2), nn.Conv2d(256, 512, 3, padding=1), nn.ReLU(), nn.Conv2d(512, 512, 3, padding=1)]
    layers += [nn.ReLU(), nn.MaxPool2d(2, 2)]
    linear = [
        nn.Linear(512 * 4 * 6, 4096),
        nn.ReLU(),
        nn.Linear(4096, 4096),
        nn.ReLU(),
        nn.Linear(4096, 128),
        nn.ReLU(),
    ]
    published = nn.ModuleDict({"features": nn.Sequential(*layers), "embeddings": nn.Sequential(*linear)})
    torch.save(published.state_dict(), tmp_path / "vggish-10086976.pth")
    encoder = load_vggish(tmp_path, "vggish@test", compute)
    windows = np.stack([tone(440, 2.0), sample_windows()[0]])
    vectors = encoder.encode(windows)
    np.testing.assert_allclose(vectors, [vggish_reference(published, window) for window in windows], atol=1e-4)
    np.testing.assert_array_equal(encoder.encode(windows[1:])[0], vectors[1])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3
    assert encoder.encode(windows[:, :800]).shape == (2, 128)
    assert encoder.encode(windows[:0]).shape == (0, 128)

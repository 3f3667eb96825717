"""torchaudio's bundles: the vectors of its own networks, and where the files come from."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import torchaudio

from rayreel.encoders.compute import Compute
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub_sound import SoundEncoder
from rayreel.encoders.load import licences, load_encoder
from rayreel.encoders.locate import sha256_of
from rayreel.encoders.torchaudio_sound import load_bundle
from rayreel.encoders.trained import UnknownEncoder
from rayreel.encoders.weights import TORCHAUDIO_BUNDLES, UnreachableWeights
from rayreel.errors import RayreelError

NAME, FILE = "torchaudio:HUBERT_BASE", "hubert_fairseq_base_ls960.pth"
NOISE = np.random.default_rng(0).normal(0.1, 0.1, (3, 8000)).astype(np.float32)
SMALL = {
    "extractor_conv_layer_config": [(16, 10, 5), *[(16, 3, 2)] * 4, *[(16, 2, 2)] * 2],
    "encoder_embed_dim": 16,
    "encoder_pos_conv_kernel": 16,
    "encoder_pos_conv_groups": 4,
    "encoder_num_layers": 2,
    "encoder_num_heads": 2,
    "encoder_ff_interm_features": 32,
}
FACTORIES = {"Wav2Vec2": torchaudio.models.wav2vec2_model, "WavLM": torchaudio.models.wavlm_model}
Use = Callable[..., Path]


@pytest.fixture
def use(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Use:
    """Replace a bundle by one of narrow layers, and return a folder with its state dict under the bundle's own name."""

    def replace(name: str = "HUBERT_BASE", *, normalize: bool = False) -> Path:
        torch.manual_seed(3)
        genuine = getattr(torchaudio.pipelines, name)
        params = {**genuine._params, **SMALL}
        file = TORCHAUDIO_BUNDLES[name].files[0].name
        tiny = torchaudio.pipelines.Wav2Vec2Bundle(file, params, 16_000, normalize, genuine._model_type)
        monkeypatch.setattr(torchaudio.pipelines, name, tiny)
        folder = tmp_path / "weights"
        folder.mkdir()
        torch.save(FACTORIES[genuine._model_type](**params).state_dict(), folder / file)
        return folder

    return replace


def expected(folder: Path, windows: np.ndarray, name: str = "HUBERT_BASE") -> np.ndarray:
    """Return the mean over time of the last of the features of torchaudio's own network."""
    model = getattr(torchaudio.pipelines, name).get_model(dl_kwargs={"model_dir": str(folder)})
    with torch.inference_mode():
        vectors = [model.extract_features(torch.from_numpy(w[None]))[0][-1].mean(dim=1).numpy() for w in windows]
    return np.concatenate(vectors)


@pytest.mark.parametrize("rows", [1, 4])
@pytest.mark.parametrize(
    ("name", "normalize"), [("HUBERT_BASE", False), ("WAV2VEC2_LARGE_LV60K", True), ("WAVLM_LARGE", True)]
)
def test_a_bundle_gives_the_features_of_torchaudios_own_network(
    use: Use, name: str, normalize: bool, rows: int
) -> None:
    weights = use(name, normalize=normalize)
    encoder = load_bundle(weights, "tiny@test", Compute(torch.device("cpu"), rows=rows), name)
    assert encoder.dim == 16
    vectors = encoder.encode(NOISE)
    np.testing.assert_allclose(vectors, expected(weights, NOISE, name), atol=1e-4)
    np.testing.assert_array_equal(encoder.encode(NOISE[1:])[0], vectors[1])
    assert np.abs(vectors[0] - vectors[1]).max() > 1e-3  # otherwise equality would be meaningless
    assert encoder.encode(NOISE[:, :100]).shape == (3, 16)
    assert encoder.encode(NOISE[:0]).shape == (0, 16)


def test_openvino_gives_the_same_vectors(use: Use) -> None:
    pytest.importorskip("openvino")
    weights = use()
    encoder = load_bundle(weights, "tiny@test", Compute(torch.device("cpu"), "openvino"), "HUBERT_BASE")
    np.testing.assert_allclose(encoder.encode(NOISE), expected(weights, NOISE), atol=1e-3)


def test_a_bundle_is_identified_by_the_sha256_of_its_file_and_shows_its_licence(use: Use, tmp_path: Path) -> None:
    weights = use()
    config = EncodersConfig(audio=NAME, weights_dir=weights, device="cpu", runtime="torch")
    encoder = load_encoder(Modality.AUDIO, config, tmp_path / "cache")
    digest = sha256_of(weights / FILE, tmp_path)[:12]
    assert encoder.identity == f"torchaudio-HUBERT_BASE@{digest}+last-layer-mean"
    assert isinstance(encoder, SoundEncoder)
    assert licences(config, tmp_path / "cache") == {NAME: "MIT"}


def test_missing_weights_are_one_error_with_what_was_tried_and_the_remedy(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    monkeypatch.setattr("rayreel.encoders.weights.torchvision_url", lambda _: "http://127.0.0.1:9/models/x.pth")
    config = EncodersConfig(audio=NAME, weights_dir=tmp_path / "mine")
    with pytest.raises(UnreachableWeights) as error:
        load_encoder(Modality.AUDIO, config, tmp_path / "cache")
    message = str(error.value)
    assert message.startswith("Weights of HUBERT_BASE (378 MB) not found. Tried encoders.weights_dir: ")
    for place in ("mine", "cache/HUBERT_BASE", "torch/hub/checkpoints"):
        assert f"{tmp_path / place / FILE} not found" in message
    assert f"http://127.0.0.1:9/torchaudio/models/{FILE}: ConnectError" in message
    assert f"Put {FILE} into FOLDER and add --set encoders.weights_dir=FOLDER" in message


def test_a_file_of_another_network_is_rejected(use: Use) -> None:
    weights = use()
    torch.save({"weight": torch.zeros(1)}, weights / FILE)
    with pytest.raises(RayreelError, match=r"\.pth does not have the parameters of torchaudio:HUBERT_BASE"):
        load_bundle(weights, "base@test", Compute(torch.device("cpu")), "HUBERT_BASE")
    (weights / FILE).write_bytes(b"<html>")
    with pytest.raises(RayreelError, match="does not have the parameters"):
        load_bundle(weights, "base@test", Compute(torch.device("cpu")), "HUBERT_BASE")


def test_random_weights_and_unknown_bundles_are_reported(tmp_path: Path) -> None:
    with pytest.raises(RayreelError, match="random_weights is not available for torchaudio:HUBERT_BASE"):
        load_encoder(Modality.AUDIO, EncodersConfig(audio=NAME, random_weights=True, device="cpu"), tmp_path)
    with pytest.raises(UnknownEncoder, match="torchaudio:WAVLM_BASE_PLUS"):
        EncodersConfig(audio="torchaudio:HUBERT_TINY")
    with pytest.raises(UnknownEncoder, match="No visual encoder 'torchaudio:HUBERT_BASE'"):
        EncodersConfig(visual=NAME)


@pytest.mark.parametrize("name", TORCHAUDIO_BUNDLES)
def test_the_address_the_rate_and_the_licence_are_torchaudios_own(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    bundle, asked = getattr(torchaudio.pipelines, name), list[str]()
    monkeypatch.setattr(torchaudio.pipelines._wav2vec2.utils, "load_state_dict_from_url", asked.append)
    bundle._get_state_dict({})
    weights = TORCHAUDIO_BUNDLES[name]
    assert weights.url is not None
    assert asked == [weights.url()]
    assert bundle.sample_rate == 16_000
    assert f"under {weights.licence} License" in " ".join(bundle.__doc__.split())


def test_every_pretrained_bundle_is_known() -> None:
    plain = {n for n, b in vars(torchaudio.pipelines).items() if type(b) is torchaudio.pipelines.Wav2Vec2Bundle}
    assert plain == set(TORCHAUDIO_BUNDLES)

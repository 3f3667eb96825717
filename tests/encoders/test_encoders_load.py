from pathlib import Path
from time import perf_counter

import numpy as np
import pytest
import torch

from rayreel.encoders.compute import best_device, device_named
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import FrameEncoder, Modality
from rayreel.encoders.load import encoder_identities, load_encoder, load_encoders
from rayreel.encoders.registry import ENCODERS, PRESETS
from rayreel.encoders.trained import UnknownEncoder
from rayreel.errors import RayreelError


def test_the_laptop_preset_loads_with_genuine_weights(weights_cache: Path) -> None:
    encoders = load_encoders(EncodersConfig(), weights_cache)
    assert encoders.dims == {Modality.VISUAL: 1280, Modality.AUDIO: 192, Modality.TEXT: 384}
    assert encoders.identities[Modality.VISUAL].startswith("mobilenet_v2@b03531047ffa+")
    assert encoders.identities[Modality.TEXT].startswith("all_minilm_l6_v2@53aa51172d14+")


def test_identities_are_computed_without_networks_and_match_the_loaded_encoders(weights_cache: Path) -> None:
    config = EncodersConfig()
    loaded = load_encoders(config, weights_cache).identities
    started = perf_counter()
    assert encoder_identities(config, weights_cache) == loaded
    assert perf_counter() - started < 0.5


def test_one_modality_can_be_overridden_by_name() -> None:
    names = EncodersConfig(preset="standard", text="all_minilm_l6_v2").resolve()
    assert list(names.items()) == [
        (Modality.VISUAL, "resnet50"),
        (Modality.AUDIO, "wav2vec2_base"),
        (Modality.TEXT, "all_minilm_l6_v2"),
    ]


def test_an_unknown_encoder_is_reported_with_the_known_ones() -> None:
    with pytest.raises(UnknownEncoder, match=r"'resnet51'.*mobilenet_v2, .*resnet50"):
        EncodersConfig(visual="resnet51")
    with pytest.raises(UnknownEncoder, match="log_mel"):
        EncodersConfig(audio="resnet50")


@pytest.mark.slow
def test_every_encoder_builds_with_random_weights_and_marks_its_identity(tmp_path: Path) -> None:
    for modality, names in ENCODERS.items():
        for name, spec in names.items():
            config = EncodersConfig(**{modality.value: name}, random_weights=True, device="cpu")
            encoder = load_encoder(modality, config, tmp_path)
            assert ("random" in encoder.identity) == (spec.weights is not None)
            assert encoder.encode(example(modality, encoder)).shape == (2, encoder.dim) == (2, spec.dim)


def test_every_preset_names_known_encoders() -> None:
    for preset in PRESETS:
        EncodersConfig(preset=preset)


def test_random_weights_are_reproducible_and_leave_the_callers_random_state_alone(tmp_path: Path) -> None:
    config = EncodersConfig(random_weights=True, device="cpu")
    torch.manual_seed(7)
    expected = torch.rand(1)
    torch.manual_seed(7)
    one, two = (load_encoder(Modality.TEXT, config, tmp_path) for _ in range(2))
    torch.testing.assert_close(torch.rand(1), expected)
    np.testing.assert_array_equal(one.encode(["a dog"]), two.encode(["a dog"]))


def test_auto_is_the_best_device_and_a_missing_one_is_reported() -> None:
    assert device_named("auto") == best_device()
    if not torch.cuda.is_available():
        with pytest.raises(RayreelError, match="cuda:0"):
            device_named("cuda:0")


def example(modality: Modality, encoder: FrameEncoder) -> object:
    if modality is Modality.VISUAL:
        return np.zeros((2 * encoder.window, encoder.frame_size, encoder.frame_size, 3), dtype=np.uint8)
    if modality is Modality.AUDIO:
        return np.zeros((2, 8000), dtype=np.float32)
    return ["a dog", "stocks fall"]

from pathlib import Path

import numpy as np
import pytest
import torch
import torchvision
from torchvision.models.feature_extraction import create_feature_extractor

from rayreel.encoders.compute import Compute
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.efficientnet_lite import EfficientNetLite, SameConv
from rayreel.encoders.encoder import Modality, Vectors
from rayreel.encoders.load import load_encoder
from rayreel.encoders.pictures import PictureEncoder
from rayreel.encoders.torchvision_frames import load_resnet50


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (5, 224, 224, 3), dtype=np.uint8)


@pytest.fixture(scope="module")
def mobilenet(weights_cache: Path) -> PictureEncoder:
    encoder = load_encoder(Modality.VISUAL, EncodersConfig(device="cpu", precision="fp32"), weights_cache)
    assert isinstance(encoder, PictureEncoder)
    return encoder


def disc(level: int) -> np.ndarray:
    """Return a frame with a disc of this level on black."""
    y, x = np.mgrid[0:224, 0:224]
    return np.repeat((((y - 112) ** 2 + (x - 112) ** 2 < 70**2) * level)[..., None], 3, axis=2).astype(np.uint8)


def stripes() -> np.ndarray:
    """Return a frame with vertical stripes."""
    return np.repeat(((np.mgrid[0:224, 0:224][1] // 8 % 2) * 200)[..., None], 3, axis=2).astype(np.uint8)


def imagenet_normalised(frames: np.ndarray) -> torch.Tensor:
    normalise = torchvision.transforms.Normalize((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
    normalised: torch.Tensor = normalise(torch.from_numpy(frames).permute(0, 3, 1, 2).contiguous() / 255)
    return normalised


def test_mobilenet_returns_the_pooled_features_of_torchvisions_network(
    mobilenet: PictureEncoder, frames: np.ndarray, weights_cache: Path
) -> None:
    reference = torchvision.models.mobilenet_v2()
    state = torch.load(weights_cache / "mobilenet_v2" / "mobilenet_v2-b0353104.pth", weights_only=True)
    reference.load_state_dict(state)
    with torch.inference_mode():
        expected = reference.eval().features(imagenet_normalised(frames)).mean(dim=(2, 3))
    np.testing.assert_allclose(mobilenet.encode(frames), expected, atol=1e-4)


def test_mobilenet_vectors_depend_less_on_brightness_than_on_content(mobilenet: PictureEncoder) -> None:
    vectors = unit(mobilenet.encode(np.stack([disc(200), disc(200) + 20, stripes()])))
    assert vectors[0] @ vectors[1] > vectors[0] @ vectors[2]


def test_no_frames_give_no_vectors(mobilenet: PictureEncoder, frames: np.ndarray) -> None:
    assert mobilenet.encode(frames[:0]).shape == (0, 1280)


def test_frames_of_another_size_or_type_are_rejected(mobilenet: PictureEncoder) -> None:
    with pytest.raises(ValueError, match="224"):
        mobilenet.encode(np.zeros((1, 112, 112, 3), dtype=np.uint8))
    with pytest.raises(ValueError, match="float32"):
        mobilenet.encode(np.zeros((1, 224, 224, 3), dtype=np.float32))


def test_resnet50_loads_torchvisions_checkpoint_and_returns_its_pooled_features(
    tmp_path: Path, frames: np.ndarray, compute: Compute
) -> None:
    torch.manual_seed(3)
    reference = torchvision.models.resnet50()
    torch.save(reference.state_dict(), tmp_path / "resnet50-11ad3fa6.pth")
    encoder = load_resnet50(tmp_path, "resnet50@test", compute)
    pooled = create_feature_extractor(reference.eval(), ["flatten"])
    with torch.inference_mode():
        expected = pooled(imagenet_normalised(frames[:3]))["flatten"]
    vectors = encoder.encode(frames[:3])
    assert vectors.shape == (3, encoder.dim) == (3, 2048)
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)


def test_efficientnet_lite_loads_its_checkpoint_and_reads_frames_of_its_size(weights_cache: Path) -> None:
    encoder = load_encoder(Modality.VISUAL, EncodersConfig(visual="efficientnet_lite0", device="cpu"), weights_cache)
    assert encoder.identity.startswith("efficientnet_lite0@579344248a93+") and encoder.frame_size == 224
    vectors = unit(encoder.encode(np.stack([disc(200), disc(160), stripes()])))
    assert vectors.shape == (3, 1280) and vectors[0] @ vectors[1] > 0.9 > vectors[0] @ vectors[2]


def test_lite_convolutions_are_padded_at_the_right_and_at_the_bottom_first() -> None:
    x_BCHW = torch.arange(16.0).view(1, 1, 4, 4)
    halved = SameConv(1, 1, kernel=3, stride=2)
    with torch.no_grad():
        halved.weight.zero_()[..., 2, 2] = 1.0  # the last pixel that a position sees
        assert halved(x_BCHW)[0, 0].tolist() == [[10.0, 0.0], [0.0, 0.0]]
        halved.weight.zero_()[..., 0, 0] = 1.0
        assert halved(x_BCHW)[0, 0].tolist() == [[0.0, 2.0], [8.0, 10.0]]


def test_the_lite_networks_have_the_blocks_and_channels_of_their_width_and_depth() -> None:
    assert [len(EfficientNetLite(*scale).blocks) for scale in ((1.0, 1.0), (1.1, 1.2))] == [16, 21]
    assert EfficientNetLite(1.1, 1.2).conv_head.in_channels == 352


def test_a_checkpoint_of_another_network_is_rejected(tmp_path: Path, compute: Compute) -> None:
    torch.save(torchvision.models.resnet18().state_dict(), tmp_path / "resnet50-11ad3fa6.pth")
    with pytest.raises(RuntimeError, match="Missing key"):
        load_resnet50(tmp_path, "resnet50@test", compute)


def unit(x: Vectors) -> Vectors:
    return np.asarray(x / np.linalg.norm(x, axis=1, keepdims=True))

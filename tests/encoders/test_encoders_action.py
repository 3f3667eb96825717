from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn
from torchvision.models.feature_extraction import create_feature_extractor
from torchvision.models.video import r2plus1d_18
from torchvision.models.video.resnet import Conv2Plus1D as TorchvisionConv

from own_encoder import SMALL, write_untrained
from rayreel.encoders.compute import Compute
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities, load_encoder
from rayreel.encoders.r2plus1d import Conv2Plus1D, R2Plus1D, middle_channels
from rayreel.encoders.trained import R2Plus1DConfig, UnknownEncoder
from rayreel.encoders.weights import R2PLUS1D_18
from rayreel.encoders.windows import KINETICS_MEAN, KINETICS_STD, load_r2plus1d_18
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig
from rayreel.storage import Storage


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    return Storage(tmp_path / "storage")


def pictures(count: int, size: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (count, size, size, 3), dtype=np.uint8)


def parameters(module: nn.Module) -> int:
    return sum(parameter.numel() for parameter in module.parameters() if parameter.dim() == 5)


@pytest.mark.parametrize(("inputs", "outputs"), [(16, 16), (16, 32), (64, 128), (3, 16)])
def test_the_factored_convolution_matches_the_parameters_of_the_full_one(inputs: int, outputs: int) -> None:
    full = nn.Conv3d(inputs, outputs, 3, bias=False).weight.numel()
    factored = parameters(Conv2Plus1D(inputs, outputs))
    assert factored <= full
    # One more middle channel would exceed the parameters.
    assert full - factored < 9 * inputs + 3 * outputs


def test_the_middle_width_equals_torchvisions() -> None:
    theirs = [m[0].out_channels for m in r2plus1d_18().modules() if isinstance(m, TorchvisionConv)]
    assert middle_channels(64, 64, time=3, side=3) == theirs[0]


def test_the_receptive_field_covers_neighbours_in_time_and_space() -> None:
    def seen_by(*layers: nn.Module) -> torch.Tensor:
        """Return the positions that the layers' output at (3, 4, 4) depends on."""
        x = torch.zeros(1, 3, 7, 9, 9, requires_grad=True)
        (gradient,) = torch.autograd.grad(nn.Sequential(*layers)(x)[0, :, 3, 4, 4].sum(), x)
        return gradient[0].abs().sum(dim=0).nonzero()

    network = Conv2Plus1D(3, 8)
    seen = seen_by(network[0])
    assert seen.amin(dim=0).tolist() == [3, 3, 3]
    assert seen.amax(dim=0).tolist() == [3, 5, 5]
    seen = seen_by(network[0], network[3])
    assert seen.amin(dim=0).tolist() == [2, 3, 3]
    assert seen.amax(dim=0).tolist() == [4, 5, 5]


@pytest.mark.parametrize(("frames", "size"), [(10, 64), (5, 33)])
def test_any_length_and_size_gives_one_vector_of_the_last_width(frames: int, size: int) -> None:
    network = R2Plus1D(R2Plus1DConfig(frames=frames, size=size, channels=(8, 16, 24)))
    vectors = network(torch.randn(2, 3, frames, size, size))
    assert vectors.shape == (2, 24)
    vectors.sum().backward()
    assert all(parameter.grad is not None for parameter in network.parameters())


def test_a_clips_vector_does_not_depend_on_its_batch() -> None:
    network = R2Plus1D(SMALL)
    x = torch.randn(3, 3, 4, 16, 16)
    torch.testing.assert_close(network(x)[1:2], network(x[1:2]))


def test_invalid_network_configurations_are_rejected() -> None:
    with pytest.raises(ValueError, match="at most 64"):
        R2Plus1DConfig(frames=20, stride=4)
    with pytest.raises(ValueError, match="multiples of 8"):
        R2Plus1DConfig(channels=(12,))


def test_r2plus1d_18_loads_torchvisions_checkpoint_and_returns_its_pooled_features(
    tmp_path: Path, compute: Compute
) -> None:
    torch.manual_seed(3)
    reference = r2plus1d_18()
    torch.save(reference.state_dict(), tmp_path / "r2plus1d_18-91a641e6.pth")
    encoder = load_r2plus1d_18(tmp_path, "r2plus1d_18@test", compute)
    frames = pictures(16, 112)
    vectors = encoder.encode(frames)
    assert vectors.shape == (1, encoder.dim) == (1, 512)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (KINETICS_MEAN, KINETICS_STD))
    x = (torch.from_numpy(frames).permute(3, 0, 1, 2) / 255 - mean) / std
    with torch.inference_mode():
        expected = create_feature_extractor(reference.eval(), ["flatten"])(x[None])["flatten"]
    np.testing.assert_allclose(vectors, expected, rtol=1e-3, atol=1e-4)


def test_an_incomplete_window_of_frames_is_rejected(storage: Storage) -> None:
    write_untrained(storage, "mine")
    encoder = load_encoder(Modality.VISUAL, EncodersConfig(visual="mine", storage=storage.root), Path("unused"))
    with pytest.raises(ValueError, match=r"N \* 8"):
        encoder.encode(pictures(12, 16))
    assert encoder.encode(pictures(0, 16)).shape == (0, 16)


def test_the_order_of_the_frames_matters(compute: Compute) -> None:
    torch.manual_seed(0)
    network = R2Plus1D(SMALL).eval()
    x = torch.randn(1, 3, 4, 16, 16)
    assert not torch.allclose(network(x), network(x.flip(2)), atol=1e-4)


@pytest.mark.parametrize("runtime", ["torch", "auto"])
def test_a_trained_encoder_loads_by_name_and_by_folder_with_equal_vectors(storage: Storage, runtime: str) -> None:
    facts = write_untrained(storage, "mine")
    folder = storage.path("encoders", "mine")
    named = EncodersConfig(visual="mine", storage=storage.root, runtime=runtime, device="cpu")
    placed = EncodersConfig(visual=folder, runtime=runtime, device="cpu")
    one, other = (load_encoder(Modality.VISUAL, config, Path("unused")) for config in (named, placed))
    assert one.identity == other.identity == facts.identity
    assert (one.window, one.frame_size, one.dim) == (8, 16, 16)
    torch.manual_seed(0)
    frames = pictures(16, 16)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (KINETICS_MEAN, KINETICS_STD))
    x = torch.from_numpy(frames).view(2, 8, 16, 16, 3)[:, ::2].permute(0, 4, 1, 2, 3) / 255
    with torch.inference_mode():
        expected = R2Plus1D(SMALL).eval()((x - mean) / std)
    np.testing.assert_allclose(one.encode(frames), expected, atol=1e-3)
    np.testing.assert_array_equal(one.encode(frames), other.encode(frames))


def test_two_training_runs_of_one_name_have_different_identities(storage: Storage, tmp_path: Path) -> None:
    one = write_untrained(storage, "mine", seed=0)
    other = write_untrained(Storage(tmp_path / "elsewhere"), "mine", seed=1)
    assert one.identity != other.identity
    config = EncodersConfig(visual="mine", storage=storage.root, precision="bf16", device="cpu", text="bert_base")
    identity = encoder_identities(config.model_copy(update={"random_weights": True}), tmp_path)[Modality.VISUAL]
    assert identity == f"{one.identity}+bf16"


def test_an_unknown_trained_encoder_is_reported_with_the_known_ones(storage: Storage) -> None:
    write_untrained(storage, "jumps-2")
    with pytest.raises(UnknownEncoder, match=r"'jumps-3'.*colour_layout, jumps-2"):
        EncodersConfig(visual="jumps-3", storage=storage.root)
    with pytest.raises(UnknownEncoder, match="nowhere/at/all"):
        EncodersConfig(visual="nowhere/at/all")
    with pytest.raises(UnknownEncoder, match="jumps-2"):  # not an audio encoder
        EncodersConfig(audio="jumps-2", storage=storage.root)


def test_a_modified_trained_encoder_is_rejected(storage: Storage) -> None:
    write_untrained(storage, "mine")
    config = EncodersConfig(visual="mine", storage=storage.root)
    storage.write(storage.path("encoders", "mine", "model.safetensors"), b"others")
    with pytest.raises(RayreelError, match="damaged"):
        load_encoder(Modality.VISUAL, config, Path("unused"))
    storage.write(storage.path("encoders", "mine", "config.json"), b"{}")
    with pytest.raises(RayreelError, match=r"config\.json"):
        EncodersConfig(visual="mine", storage=storage.root)


def test_the_sampling_window_is_taken_from_the_encoder(storage: Storage) -> None:
    write_untrained(storage, "mine")
    assert EncodersConfig(preset="action").sampled(SamplingConfig(), Path).window == 16
    assert EncodersConfig(visual="mine", storage=storage.root).sampled(SamplingConfig(), Path).window == 8
    assert EncodersConfig().sampled(SamplingConfig(window=4), Path).window == 4
    with pytest.raises(RayreelError, match="reads 16 consecutive"):
        EncodersConfig(preset="action").sampled(SamplingConfig(window=8), Path)


def test_the_torchvision_url_ends_with_the_name_of_the_file() -> None:
    assert R2PLUS1D_18.url is not None
    assert R2PLUS1D_18.url().endswith(f"/{R2PLUS1D_18.files[0].name}")

"""Frame encoders in int8."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import nn

from rayreel.encoders.compute import Compute, compute_of
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.encoders.pictures import example_frames
from rayreel.encoders.runtime import Runtime
from rayreel.errors import RayreelError

pytest.importorskip("nncf")
from rayreel.encoders import int8

SIZE, FRAMES = 32, 12


class ToyFrames(nn.Module):
    def __init__(self, gain: float = 1.0) -> None:
        super().__init__()
        torch.manual_seed(0)
        self.body = nn.Sequential(
            nn.Conv2d(3, 16, 3, stride=2, bias=False), nn.BatchNorm2d(16), nn.ReLU(),
            nn.Conv2d(16, 32, 3, stride=2), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(),
        )  # fmt: skip
        self.gain = gain

    def forward(self, frames_BHWC: torch.Tensor) -> torch.Tensor:
        return torch.sin(self.gain * self.body(frames_BHWC.permute(0, 3, 1, 2) / 255.0))


@pytest.fixture
def compute(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Compute:
    monkeypatch.setattr(int8, "FRAMES", FRAMES)
    return Compute(torch.device("cpu"), "openvino", int8=tmp_path / "int8")


def vectors(runtime: Runtime) -> np.ndarray:
    return np.concatenate(list(runtime.run((f[None],) for f in int8.calibration_frames(6, SIZE))))


def test_a_network_in_int8_gives_nearly_the_same_vectors_and_is_quantised_once(
    compute: Compute, monkeypatch: pytest.MonkeyPatch
) -> None:
    network = ToyFrames().eval()
    found = vectors(int8.start_int8(network, example_frames(SIZE), "toy@1+pooled+int8", compute))
    with torch.inference_mode():
        expected = network(torch.from_numpy(int8.calibration_frames(6, SIZE))).numpy()
    assert not np.allclose(found, expected, atol=1e-6)
    cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
    assert cosine.min() > 0.99
    monkeypatch.setattr(int8, "_quantised", None)  # called again, it would raise
    again = int8.start_int8(network, example_frames(SIZE), "toy@1+pooled+int8", replace(compute, threads=2))
    np.testing.assert_array_equal(vectors(again), found)


def test_inaccurate_int8_is_refused_with_the_cosine_and_leaves_no_file(compute: Compute) -> None:
    network = ToyFrames(gain=1e3).eval()
    with pytest.raises(int8.InaccurateInt8, match=r"toy@2 have a mean cosine of 0\.\d+ .* at least 0.99 is required"):
        int8.start_int8(network, example_frames(SIZE), "toy@2+pooled+int8", compute)
    assert compute.int8 is not None
    assert not list(compute.int8.glob("*.xml"))


def test_calibration_frames_are_the_same_every_time() -> None:
    first, again = (int8.calibration_frames(3, SIZE) for _ in range(2))
    assert first.shape == (3, SIZE, SIZE, 3)
    assert first.std() > 10
    np.testing.assert_array_equal(first, again)


def test_only_the_frame_encoders_identity_names_int8(tmp_path: Path) -> None:
    plain, quantised = (
        encoder_identities(EncodersConfig(random_weights=True, precision=p), tmp_path) for p in ("auto", "int8")
    )
    assert {modality for modality in Modality if plain[modality] != quantised[modality]} == {Modality.VISUAL}
    assert "+int8-nncf" in quantised[Modality.VISUAL]


def test_int8_is_refused_where_it_cannot_run(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="mobilenet_v2, resnet50, not for r2plus1d_18"):
        EncodersConfig(preset="action", precision="int8")
    with pytest.raises(RayreelError, match="on a CPU with OpenVINO"):
        compute_of(EncodersConfig(precision="int8", device="cpu", runtime="torch"), tmp_path)

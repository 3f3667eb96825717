"""Encode windows of consecutive frames with video networks, which capture motion."""

from pathlib import Path
from typing import Any

import safetensors.torch
import torch
from torch import Tensor, nn
from torchvision.models.video import r2plus1d_18

from rayreel.encoders.checkpoint import read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.pictures import PictureEncoder, example_frames
from rayreel.encoders.r2plus1d import R2Plus1D
from rayreel.encoders.runtime import start
from rayreel.encoders.trained import TrainedFacts, read_weights
from rayreel.encoders.weights import R2PLUS1D_18

KINETICS_MEAN = (0.43216, 0.394666, 0.37645)
KINETICS_STD = (0.22803, 0.22145, 0.216989)


class WindowNetwork(nn.Module):
    """A video network that takes raw frames: [B, T, H, W, 3] uint8 RGB -> [B, dim]."""

    mean_C: Tensor
    std_C: Tensor

    def __init__(self, backbone: nn.Module) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean_C", 255 * torch.tensor(KINETICS_MEAN), persistent=False)
        self.register_buffer("std_C", 255 * torch.tensor(KINETICS_STD), persistent=False)

    def forward(self, frames_BTHWC: Tensor) -> Tensor:
        """Map windows of frames to pooled features."""
        x_BTHWC = (frames_BTHWC.float() - self.mean_C) / self.std_C
        features_BD: Tensor = self.backbone(x_BTHWC.permute(0, 4, 1, 2, 3))
        return features_BD


def load_r2plus1d_18(folder: Path | None, identity: str, compute: Compute) -> PictureEncoder:
    """Load R(2+1)D-18, 512-d, Kinetics-400 (Tran et al. 2018). Without a folder the parameters are random."""
    network: Any = r2plus1d_18()
    if folder is not None:
        network.load_state_dict(read_state(folder / R2PLUS1D_18.files[0].name), strict=True)
    network.fc = nn.Identity()
    return _encoder(network, frames=16, stride=1, size=112, dim=512, identity=identity, compute=compute)


def load_trained(reference: str, root: str | None, suffix: str, compute: Compute) -> PictureEncoder:
    """Load a trained encoder by its name below the storage root or by its folder; `suffix` is added to its identity.

    Raises RayreelError if it is missing or damaged.
    """
    facts, weights = read_weights(reference, root)
    return encoder_of(facts, weights, compute, suffix)


def encoder_of(facts: TrainedFacts, weights: bytes, compute: Compute, suffix: str = "") -> PictureEncoder:
    """Build the encoder from its description and the content of its safetensors file."""
    backbone, config = R2Plus1D(facts.network), facts.network
    backbone.load_state_dict(safetensors.torch.load(weights), strict=True)
    return _encoder(
        backbone,
        frames=config.frames,
        stride=config.stride,
        size=config.size,
        dim=backbone.dim,
        identity=facts.identity + suffix,
        compute=compute,
    )


def _encoder(
    backbone: nn.Module, *, frames: int, stride: int, size: int, dim: int, identity: str, compute: Compute
) -> PictureEncoder:
    runtime = start(WindowNetwork(backbone), (example_frames(size, frames),), compute, any_length=False)
    return PictureEncoder(runtime, size=size, dim=dim, identity=identity, frames=frames, stride=stride)

"""Encode frames with torchvision's ImageNet networks, without the classifier."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50

from rayreel.encoders.checkpoint import read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.pictures import PictureEncoder, example_frames
from rayreel.encoders.runtime import MixedPrecisionNetwork, start
from rayreel.encoders.weights import MOBILENET_V2, RESNET50

Colour = tuple[float, float, float]
FRAME_SIZE = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
# In bf16 MobileNetV2's second block loses the most precision, the sixteen after the third almost none.
MOBILENET_V2_SENSITIVE = 3


class FrameNetwork(nn.Module):
    """A convolutional network that takes raw frames: [B, H, W, 3] uint8 RGB -> [B, dim].

    Frames stay channels-last from the decoder to the convolutions, which saves a transpose.
    """

    mean_C11: Tensor
    std_C11: Tensor

    def __init__(self, backbone: nn.Module, mean: Colour = IMAGENET_MEAN, std: Colour = IMAGENET_STD) -> None:
        super().__init__()
        self.backbone = backbone
        self.register_buffer("mean_C11", 255 * torch.tensor(mean).view(3, 1, 1))
        self.register_buffer("std_C11", 255 * torch.tensor(std).view(3, 1, 1))

    def forward(self, frames_BHWC: Tensor) -> Tensor:
        """Map frames to pooled features."""
        x_BCHW = (frames_BHWC.permute(0, 3, 1, 2).float() - self.mean_C11) / self.std_C11
        features_BD: Tensor = self.backbone(x_BCHW)
        return features_BD


def load_mobilenet_v2(folder: Path | None, identity: str, compute: Compute) -> PictureEncoder:
    """Load MobileNetV2, 1280-d (Sandler et al. 2018). Without a folder the parameters are random."""
    network: Any = mobilenet_v2()
    if folder is not None:
        network.load_state_dict(read_state(folder / MOBILENET_V2.files[0].name), strict=True)
    sensitive, tolerant = network.features[:MOBILENET_V2_SENSITIVE], network.features[MOBILENET_V2_SENSITIVE:]
    pooled = nn.Sequential(tolerant, nn.AdaptiveAvgPool2d(1), nn.Flatten())
    return _encoder(MixedPrecisionNetwork(FrameNetwork(sensitive), pooled), 1280, identity, compute)


def load_resnet50(folder: Path | None, identity: str, compute: Compute) -> PictureEncoder:
    """Load ResNet-50, 2048-d (He et al. 2016; IMAGENET1K_V2). Without a folder the parameters are random."""
    network: Any = resnet50()
    if folder is not None:
        network.load_state_dict(read_state(folder / RESNET50.files[0].name), strict=True)
    network.fc = nn.Identity()
    return _encoder(FrameNetwork(network), 2048, identity, compute)


def _encoder(network: nn.Module, dim: int, identity: str, compute: Compute) -> PictureEncoder:
    example = example_frames(FRAME_SIZE)
    if compute.int8 is not None:
        from rayreel.encoders.int8 import start_int8  # only available on x86-64

        return PictureEncoder(
            start_int8(network, example, identity, compute), size=FRAME_SIZE, dim=dim, identity=identity
        )
    return PictureEncoder(
        start(network, (example,), compute, any_length=False), size=FRAME_SIZE, dim=dim, identity=identity
    )

"""Frames to vectors by torchvision's ImageNet networks, taken just before the classifier."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torchvision.models import mobilenet_v2, resnet50

from rayreel.encoders.batches import encode_batches
from rayreel.encoders.checkpoint import read_state
from rayreel.encoders.encoder import Vectors
from rayreel.encoders.weights import MOBILENET_V2, RESNET50

FRAME_SIZE = 224
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class TorchvisionFrames:
    """A convolutional network without its classifier. [N, 224, 224, 3] uint8 RGB -> [N, dim] float32.

    Batches stay channels-last from the decoder to the convolutions, so no transpose is made.
    """

    frame_size = FRAME_SIZE

    def __init__(self, network: nn.Module, dim: int, identity: str, device: torch.device, batch: int) -> None:
        self.identity, self.dim = identity, dim
        self._device, self._batch = device, batch
        self._network = network.eval().to(device, memory_format=torch.channels_last)  # type: ignore[call-overload]
        self._mean_C11 = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1)
        self._std_C11 = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1)

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Vectors:
        """Map [N, 224, 224, 3] uint8 RGB to [N, dim]; another shape or type raises ValueError."""
        if frames_NHWC.shape[1:] != (FRAME_SIZE, FRAME_SIZE, 3) or frames_NHWC.dtype != np.uint8:
            raise ValueError(f"frames must be [N, 224, 224, 3] uint8, not {frames_NHWC.shape} {frames_NHWC.dtype}")
        return encode_batches(frames_NHWC, self._batch, self.dim, self._encode)

    def _encode(self, frames_NHWC: NDArray[np.uint8]) -> Tensor:
        x_NCHW = torch.from_numpy(frames_NHWC.copy(order="C")).to(self._device).permute(0, 3, 1, 2).float().div_(255)
        features_ND: Tensor = self._network(x_NCHW.sub_(self._mean_C11).div_(self._std_C11))
        return features_ND


def load_mobilenet_v2(folder: Path | None, identity: str, device: torch.device, batch: int) -> TorchvisionFrames:
    """MobileNetV2, 1280-d (Sandler et al. 2018). Without a folder the parameters are random."""
    network: Any = mobilenet_v2()
    if folder is not None:
        network.load_state_dict(read_state(folder / MOBILENET_V2.files[0].name), strict=True)
    network.classifier = nn.Identity()
    return TorchvisionFrames(network, 1280, identity, device, batch)


def load_resnet50(folder: Path | None, identity: str, device: torch.device, batch: int) -> TorchvisionFrames:
    """ResNet-50, 2048-d (He et al. 2016; torchvision's second recipe). Without a folder the parameters are random."""
    network: Any = resnet50()
    if folder is not None:
        network.load_state_dict(read_state(folder / RESNET50.files[0].name), strict=True)
    network.fc = nn.Identity()
    return TorchvisionFrames(network, 2048, identity, device, batch)

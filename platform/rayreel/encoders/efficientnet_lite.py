"""Encode frames with EfficientNet-Lite, ImageNet networks that are small and fast on a CPU."""

import re
from math import ceil
from pathlib import Path
from typing import NamedTuple

from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.checkpoint import read_state
from rayreel.encoders.compute import Compute
from rayreel.encoders.pictures import PictureEncoder, example_frames
from rayreel.encoders.runtime import MixedPrecisionNetwork, start
from rayreel.encoders.torchvision_frames import FrameNetwork
from rayreel.encoders.weights import EFFICIENTNET_LITE0, EFFICIENTNET_LITE2, NetworkWeights

MEAN, STD = (127 / 255,) * 3, (128 / 255,) * 3
# In bf16 the first blocks lose the most precision; without six of them the vectors keep a cosine of 0.999.
SENSITIVE = 6
STEM, HEAD = 32, 1280  # channels; unlike those of the stages they do not grow with the width
EPSILON = 1e-3


class LiteStage(NamedTuple):
    """Blocks of one resolution, at width and depth 1."""

    blocks: int
    channels: int
    kernel: int
    stride: int
    expansion: int


STAGES = (
    LiteStage(1, 16, 3, 1, 1),
    LiteStage(2, 24, 3, 2, 6),
    LiteStage(2, 40, 5, 2, 6),
    LiteStage(3, 80, 3, 2, 6),
    LiteStage(3, 112, 5, 1, 6),
    LiteStage(4, 192, 5, 2, 6),
    LiteStage(1, 320, 3, 1, 6),
)


class SameConv(nn.Conv2d):
    """A convolution without bias, padded as TensorFlow does: the odd pixel at the right and at the bottom."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int = 1, groups: int = 1) -> None:
        super().__init__(inputs, outputs, kernel, stride, groups=groups, bias=False)

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Pad and convolve."""
        (kernel, _), (stride, _), side = self.kernel_size, self.stride, int(x_BCHW.shape[2])
        missing = max(0, (ceil(side / stride) - 1) * stride + kernel - side)
        before, after = missing // 2, missing - missing // 2
        return super().forward(F.pad(x_BCHW, (before, after, before, after)))


class LiteBlock(nn.Module):
    """An inverted residual block (Sandler et al. 2018): expand, convolve each channel, project."""

    def __init__(self, inputs: int, outputs: int, kernel: int, stride: int, expansion: int) -> None:
        super().__init__()
        width = inputs * expansion
        self.expands = expansion > 1
        if self.expands:
            self.expand_conv, self.bn0 = SameConv(inputs, width, 1), nn.BatchNorm2d(width, EPSILON)
        self.depthwise_conv = SameConv(width, width, kernel, stride, groups=width)
        self.bn1 = nn.BatchNorm2d(width, EPSILON)
        self.project_conv, self.bn2 = SameConv(width, outputs, 1), nn.BatchNorm2d(outputs, EPSILON)
        self.is_residual = stride == 1 and inputs == outputs

    def forward(self, x_BCHW: Tensor) -> Tensor:
        """Map [B, inputs, H, W] to [B, outputs, H / stride, W / stride]."""
        y_BCHW = F.relu6(self.bn0(self.expand_conv(x_BCHW))) if self.expands else x_BCHW
        y_BCHW = F.relu6(self.bn1(self.depthwise_conv(y_BCHW)))
        y_BCHW = self.bn2(self.project_conv(y_BCHW))
        out_BCHW: Tensor = y_BCHW + x_BCHW if self.is_residual else y_BCHW
        return out_BCHW


class EfficientNetLite(nn.Module):
    """The layers of EfficientNet-Lite without its classifier, by the names that its checkpoints have.

    `width` and `depth` multiply the channels and the blocks of the stages (Tan and Le 2019). The Lite networks have no
    squeeze and excitation, and ReLU6 as activation.
    """

    def __init__(self, width: float, depth: float) -> None:
        super().__init__()
        stages = [_scaled(place, stage, width, depth) for place, stage in enumerate(STAGES)]
        inputs = [STEM, *(stage.channels for stage in stages)]
        self.conv_stem, self.bn0 = SameConv(3, STEM, 3, 2), nn.BatchNorm2d(STEM, EPSILON)
        self.blocks = nn.ModuleList(
            block for before, stage in zip(inputs, stages, strict=False) for block in _blocks(before, stage)
        )
        self.conv_head, self.bn1 = SameConv(inputs[-1], HEAD, 1), nn.BatchNorm2d(HEAD, EPSILON)

    def split(self) -> MixedPrecisionNetwork:
        """Return the network in its parts for mixed precision: [B, H, W, 3] uint8 RGB -> [B, 1280]."""
        sensitive = nn.Sequential(self.conv_stem, self.bn0, nn.ReLU6(), *self.blocks[:SENSITIVE])
        head = (self.conv_head, self.bn1, nn.ReLU6(), nn.AdaptiveAvgPool2d(1), nn.Flatten())
        return MixedPrecisionNetwork(FrameNetwork(sensitive, MEAN, STD), nn.Sequential(*self.blocks[SENSITIVE:], *head))


def load_efficientnet_lite0(folder: Path | None, identity: str, compute: Compute) -> PictureEncoder:
    """Load EfficientNet-Lite0, frames of 224 pixels. Without a folder the parameters are random."""
    return _load(EfficientNetLite(1.0, 1.0), EFFICIENTNET_LITE0, 224, folder, identity, compute)


def load_efficientnet_lite2(folder: Path | None, identity: str, compute: Compute) -> PictureEncoder:
    """Load EfficientNet-Lite2, frames of 260 pixels. Without a folder the parameters are random."""
    return _load(EfficientNetLite(1.1, 1.2), EFFICIENTNET_LITE2, 260, folder, identity, compute)


def _load(  # noqa: PLR0917 - the arguments of every loader, and what differs between the two networks
    network: EfficientNetLite,
    weights: NetworkWeights,
    size: int,
    folder: Path | None,
    identity: str,
    compute: Compute,
) -> PictureEncoder:
    if folder is not None:
        network.load_state_dict(_state(folder / weights.files[0].name), strict=True)
    runtime = start(network.split(), (example_frames(size),), compute, any_length=False)
    return PictureEncoder(runtime, size=size, dim=HEAD, identity=identity)


def _state(path: Path) -> dict[str, Tensor]:
    """Return the parameters by the names of the modules here, without the classifier's."""
    named = {re.sub(r"(^|\.)_", r"\1", name): value for name, value in read_state(path).items()}
    return {name: value for name, value in named.items() if not name.startswith("fc.")}


def _scaled(place: int, stage: LiteStage, width: float, depth: float) -> LiteStage:
    """Return a stage of a larger network; the first and the last keep their number of blocks."""
    blocks = stage.blocks if place in {0, len(STAGES) - 1} else ceil(depth * stage.blocks)
    return stage._replace(blocks=blocks, channels=_rounded(width * stage.channels))


def _rounded(channels: float) -> int:
    """Round to a multiple of 8 that is not below 90 % of the channels."""
    nearest = max(8, int(channels + 4) // 8 * 8)
    return nearest if nearest >= 0.9 * channels else nearest + 8


def _blocks(inputs: int, stage: LiteStage) -> list[LiteBlock]:
    """Return a stage's blocks; the first changes channels and resolution."""
    first = LiteBlock(inputs, stage.channels, stage.kernel, stage.stride, stage.expansion)
    rest = (
        LiteBlock(stage.channels, stage.channels, stage.kernel, 1, stage.expansion) for _ in range(stage.blocks - 1)
    )
    return [first, *rest]

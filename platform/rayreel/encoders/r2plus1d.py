"""A small R(2+1)D network: residual convolutions over space and time, each in two factors (Tran et al. 2018)."""

from itertools import pairwise

from torch import Tensor, nn

from rayreel.encoders.trained import GROUPS, R2Plus1DConfig


def middle_channels(inputs: int, outputs: int, time: int, side: int) -> int:
    """Return the channels between the factors so that they match a full 3-D convolution's parameters (section 3.5)."""
    return (time * side**2 * inputs * outputs) // (side**2 * inputs + time * outputs)


class GroupNorm(nn.GroupNorm):
    """GroupNorm over [B, C, T, H, W], computed as [B, C, T, H * W]: OpenVINO 2026.4 crashes on five axes."""

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Normalise each group of channels over time and space."""
        return super().forward(x_BCTHW.flatten(3)).view_as(x_BCTHW)


class Conv2Plus1D(nn.Sequential):
    """A 3-D convolution as a spatial, then a temporal one, with a nonlinearity between: [B, C, T, H, W] -> same axes.

    `stride` is (time, space). GroupNorm (Wu and He 2018) replaces the paper's BatchNorm: a clip's result must not
    depend on its batch, or a step of several workers would differ from that of one process.
    """

    def __init__(
        self, inputs: int, outputs: int, *, time: int = 3, side: int = 3, stride: tuple[int, int] = (1, 1)
    ) -> None:
        middle = middle_channels(inputs, outputs, time, side)
        space = {"kernel_size": (1, side, side), "stride": (1, stride[1], stride[1])}
        super().__init__(
            nn.Conv3d(inputs, middle, **space, padding=(0, side // 2, side // 2), bias=False),  # type: ignore[arg-type]
            GroupNorm(1, middle),
            nn.ReLU(),
            nn.Conv3d(middle, outputs, (time, 1, 1), (stride[0], 1, 1), (time // 2, 0, 0), bias=False),
            GroupNorm(GROUPS, outputs),
        )


class Residual(nn.Module):
    """Two factorised convolutions around a shortcut (He et al. 2016); a stride of 2 halves time and space."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.first = Conv2Plus1D(inputs, outputs, stride=(stride, stride))
        self.second = Conv2Plus1D(outputs, outputs)
        projected = nn.Sequential(nn.Conv3d(inputs, outputs, 1, stride, bias=False), GroupNorm(GROUPS, outputs))
        self.shortcut = nn.Identity() if inputs == outputs and stride == 1 else projected
        self.relu = nn.ReLU()

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Map [B, inputs, T, H, W] to [B, outputs, T / stride, H / stride, W / stride], rounded up."""
        y_BCTHW: Tensor = self.second(self.relu(self.first(x_BCTHW)))
        out_BCTHW: Tensor = self.relu(y_BCTHW + self.shortcut(x_BCTHW))
        return out_BCTHW


class R2Plus1D(nn.Module):
    """A stem, one residual block per width, and the mean over time and space: [B, 3, T, H, W] -> [B, dim]."""

    def __init__(self, config: R2Plus1DConfig) -> None:
        super().__init__()
        widths = config.channels
        self.dim = widths[-1]
        self.stem = nn.Sequential(Conv2Plus1D(3, widths[0], side=7, stride=(1, 2)), nn.ReLU())
        blocks = [Residual(widths[0], widths[0], stride=1)]
        blocks += [Residual(before, width, stride=2) for before, width in pairwise(widths)]
        self.blocks = nn.Sequential(*blocks)

    def forward(self, x_BCTHW: Tensor) -> Tensor:
        """Map normalised frames to pooled features."""
        features_BD: Tensor = self.blocks(self.stem(x_BCTHW)).mean(dim=(2, 3, 4))
        return features_BD

"""Frame encoders: a network that runs on decoded frames, or on windows of consecutive ones."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Runtime, encode_rows


def example_frames(size: int, frames: int = 1) -> Tensor:
    """Return zeros shaped like the input of a frame network, [1, size, size, 3], or of a window's, [1, frames, …]."""
    return torch.zeros(1, *([frames] if frames > 1 else []), size, size, 3, dtype=torch.uint8)


class PictureEncoder:
    """One vector per window of frames: [N * window, size, size, 3] uint8 RGB -> [N, dim] float32.

    Only every `stride`-th frame of a window is used. With `frames=1` and `stride=1` a window is one frame.
    """

    def __init__(
        self, runtime: Runtime, *, size: int, dim: int, identity: str, frames: int = 1, stride: int = 1
    ) -> None:
        self.identity, self.dim, self.frame_size = identity, dim, size
        self.window, self._frames, self._stride = frames * stride, frames, stride
        self._runtime = runtime

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Vectors:
        """Map N concatenated windows to [N, dim]; another shape or type raises ValueError."""
        size, count = self.frame_size, len(frames_NHWC)
        if frames_NHWC.shape[1:] != (size, size, 3) or frames_NHWC.dtype != np.uint8 or count % self.window:
            wanted = f"N * {self.window}" if self.window > 1 else "N"
            raise ValueError(
                f"frames must be [{wanted}, {size}, {size}, 3] uint8, not {frames_NHWC.shape} {frames_NHWC.dtype}"
            )
        if self._frames == 1:
            return encode_rows(frames_NHWC[:: self._stride], self._runtime, self.dim)
        windows_NTHWC = frames_NHWC.reshape(-1, self.window, size, size, 3)[:, :: self._stride]
        return encode_rows(np.ascontiguousarray(windows_NTHWC), self._runtime, self.dim)

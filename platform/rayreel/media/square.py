"""A decoded frame, small, upright and square."""

from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray


class Squares:
    """Short side to `size` inside the scaler, turned upright, centre crop: uint8 RGB [size, size, 3].

    `aspect` is the stream's pixel aspect; pixels that are not square are stretched to what a viewer sees.
    """

    def __init__(self, size: int, aspect: Fraction | None) -> None:
        self._size = size
        self._aspect = float(aspect) if aspect else 1.0
        # One for all frames, on one thread: setting up a scaler with a thread per core costs more than scaling.
        self._scaler = VideoReformatter()

    def of(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Scale, turn and crop one frame."""
        size, width = self._size, frame.width * self._aspect
        scale = size / min(width, frame.height)
        small = self._scaler.reformat(
            frame, max(size, round(width * scale)), max(size, round(frame.height * scale)), "rgb24", threads=1
        ).to_ndarray()
        upright = np.rot90(small, k=frame.rotation // 90)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])

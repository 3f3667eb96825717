"""A decoded frame, small, upright and square."""

from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from rayreel.media.colour import SmallRgb
from rayreel.media.orientation import UPRIGHT, Turn, turn_of

_MOST_STRETCH = 10.0  # a larger pixel aspect is damage


class Squares:
    """Scales frames to short side `size`, turns them upright and crops the centre: uint8 RGB [size, size, 3].

    `aspect` is the stream's pixel aspect ratio; non-square pixels are stretched before the turn. `turn` applies to
    frames without their own display matrix.
    """

    def __init__(self, size: int, aspect: Fraction | None, turn: Turn = UPRIGHT) -> None:
        self._size, self._turn = size, turn
        self._aspect = float(aspect) if aspect and 1 / _MOST_STRETCH < aspect < _MOST_STRETCH else 1.0
        self._rgb = SmallRgb()

    def of(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Scale, turn and crop one frame."""
        size, width = self._size, frame.width * self._aspect
        scale = size / min(width, frame.height)
        small = self._rgb.of(frame, max(size, round(width * scale)), max(size, round(frame.height * scale)))
        own = turn_of(frame)
        upright = (self._turn if own is None else own).of(small)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])

"""What every frozen encoder is: a name, an output width and a way from one modality's raw input to vectors."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.modality import Modality

__all__ = ["AudioEncoder", "FrameEncoder", "Modality", "TextEncoder", "Vectors"]

Vectors = NDArray[np.float32]


class FrameEncoder(Protocol):
    """RGB frames to one vector for each `window` consecutive ones: for each frame where that is 1."""

    identity: str
    dim: int
    frame_size: int
    window: int

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Vectors:
        """Map [N * window, frame_size, frame_size, 3] uint8 RGB to [N, dim]."""
        ...


class AudioEncoder(Protocol):
    """Mono waveform windows at 16 kHz to one vector each."""

    identity: str
    dim: int

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, dim]."""
        ...


class TextEncoder(Protocol):
    """Strings to one vector each."""

    identity: str
    dim: int

    def encode(self, texts: list[str]) -> Vectors:
        """Map N non-empty strings to [N, dim]."""
        ...

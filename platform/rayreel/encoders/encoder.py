"""The interface of frozen encoders: an identity, an output width and a method from raw input to vectors."""

from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.config import Modality

__all__ = ["AudioEncoder", "FrameEncoder", "Modality", "TextEncoder", "Vectors"]

Vectors = NDArray[np.float32]


class FrameEncoder(Protocol):
    """Encodes RGB frames, `window` consecutive ones to one vector."""

    identity: str
    dim: int
    frame_size: int
    window: int

    def encode(self, frames_NHWC: NDArray[np.uint8]) -> Vectors:
        """Map [N * window, frame_size, frame_size, 3] uint8 RGB to [N, dim]."""
        ...


class AudioEncoder(Protocol):
    """Encodes mono waveform windows at 16 kHz, one vector each."""

    identity: str
    dim: int

    def encode(self, windows_NS: NDArray[np.float32]) -> Vectors:
        """Map [N, samples] float32 in [-1, 1] to [N, dim]."""
        ...


class TextEncoder(Protocol):
    """Encodes strings, one vector each."""

    identity: str
    dim: int

    def encode(self, texts: list[str]) -> Vectors:
        """Map N non-empty strings to [N, dim]."""
        ...

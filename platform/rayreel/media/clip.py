"""What decoding gives: a few frames, a few windows of sound, and facts about the file."""

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Facts:
    """What the container says of the video; width and height are those of the coded picture, before rotation."""

    duration_s: float
    width: int
    height: int
    fps: float
    has_audio: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """What decoding takes of one video.

    frames: uint8 RGB [n * window, size, size, 3], n from 1 to `SamplingConfig.frames`, in time order, no frame twice;
    with a window above 1 each `window` of them are consecutive, and no window comes twice.
    windows: float32 [w, samples] at 16 kHz in [-1, 1]; None when there is no sound: no track, or pure silence, which
    says nothing about a video and would make all silent videos look alike.
    """

    frames: NDArray[np.uint8]
    windows: NDArray[np.float32] | None
    facts: Facts


@dataclass(frozen=True, slots=True)
class Clip(Samples):
    """Samples of one video and the SHA-256 of its file, hex."""

    content_hash: str

    @classmethod
    def of(cls, samples: Samples, content_hash: str) -> Self:
        """Samples with the hash of the file that they were taken from."""
        return cls(samples.frames, samples.windows, samples.facts, content_hash)

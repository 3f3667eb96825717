"""The result of decoding: a few frames, a few audio windows, and facts about the file."""

from dataclasses import dataclass, field
from typing import Self

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class MediaFacts:
    """Facts about the video; width and height are those of the coded picture, before rotation."""

    duration_s: float
    width: int
    height: int
    fps: float
    has_audio: bool


@dataclass(frozen=True, slots=True)
class Samples:
    """The samples of one video.

    frames: uint8 RGB [n * window, size, size, 3], n from 1 to `SamplingConfig.frames`, in time order without
    duplicates; with a window above 1, each `window` frames are consecutive, and no window is repeated.
    windows: float32 [w, samples] at 16 kHz in [-1, 1]; None without an audio track or if it is silent, because silence
    would make all silent videos look alike.
    track: int16 [samples] at 16 kHz, the sound from the first picture on; None unless `SamplingConfig.track_s` asks for
    it, and if it is silent. It may have sound where no window is.
    """

    frames: NDArray[np.uint8]
    windows: NDArray[np.float32] | None
    facts: MediaFacts
    track: NDArray[np.int16] | None = field(default=None, kw_only=True)


@dataclass(frozen=True, slots=True)
class Clip(Samples):
    """Samples of one video and the SHA-256 of its file, hex."""

    content_hash: str

    @classmethod
    def of(cls, samples: Samples, content_hash: str) -> Self:
        """Return the samples with the hash of their file."""
        return cls(samples.frames, samples.windows, samples.facts, content_hash, track=samples.track)

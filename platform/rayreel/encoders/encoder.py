"""The interface of frozen encoders: an identity, an output width and a method from raw input to vectors."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.registry import Modality

__all__ = ["AudioEncoder", "FrameEncoder", "Modality", "TextEncoder", "Vectors", "WordEncoders"]

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

    def encode(self, texts: list[str], *, query: bool = False) -> Vectors:
        """Map N non-empty strings to [N, dim]; `query`: they are searched with, not searched for."""
        ...

    def knows(self, word: str) -> bool:
        """Whether a word is one of the encoder's vocabulary, so that it is not a typing error."""
        ...


@dataclass(frozen=True, slots=True)
class WordEncoders:
    """Encoders of queries in words, by the modality whose vectors they give.

    Besides the text encoder these are the text sides of visual and audio encoders that have a space shared with words
    (CLIP, SigLIP, CLAP), so that words find videos without a title.
    """

    by_modality: Mapping[Modality, TextEncoder]

    @property
    def identity(self) -> str:
        """Name, weights and preprocessing of the text encoder."""
        return self.by_modality[Modality.TEXT].identity

    def knows(self, word: str) -> bool:
        """Whether a word is one of the text encoder's vocabulary."""
        return self.by_modality[Modality.TEXT].knows(word)

    def encode(self, texts: list[str]) -> list[dict[Modality, Vectors]]:
        """Map N non-empty queries to the vectors of each, [1, dim] for each modality that it fills."""
        vectors = {m: encoder.encode(texts, query=True) for m, encoder in self.by_modality.items()}
        return [{m: found_ND[row : row + 1] for m, found_ND in vectors.items()} for row in range(len(texts))]

"""Leave out what Whisper invents: on noise and music it returns phrases of its training data, or repeats itself."""

from collections.abc import Sequence
from itertools import groupby
from typing import Protocol

# Whisper's own limits are 0.6 and -1.0, of which both must be passed, and it then tries again with random sampling.
# Without that, one is enough; no sentence that can be heard in the clips of docs/speech.md passes either.
_NO_SPEECH = 0.5
_LOG_PROBABILITY = -1.0
_COMPRESSION = 2.4  # Whisper's: text that compresses better repeats itself
_REPEATS = 3


class Recognised(Protocol):
    """A segment of faster-whisper."""

    text: str
    avg_logprob: float
    no_speech_prob: float
    compression_ratio: float


def believable(segments: Sequence[Recognised]) -> list[bool]:
    """Return for each segment of a stretch whether it was probably said."""
    repeated = [len(run) >= _REPEATS for run in _runs(segments) for _ in run]
    return [not again and _is_believable(segment) for segment, again in zip(segments, repeated, strict=True)]


def _is_believable(segment: Recognised) -> bool:
    return (
        any(letter.isalnum() for letter in segment.text)
        and segment.no_speech_prob < _NO_SPEECH
        and segment.avg_logprob > _LOG_PROBABILITY
        and segment.compression_ratio < _COMPRESSION
    )


def _runs(segments: Sequence[Recognised]) -> list[list[Recognised]]:
    """Group neighbours with the same words."""
    return [list(run) for _, run in groupby(segments, lambda segment: segment.text.strip().casefold())]

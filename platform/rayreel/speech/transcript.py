"""What is said in a video: segments of text with their times."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class SpokenSegment:
    """A passage of speech, seconds from the first picture."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcript:
    """The speech of a video, in order of time; without segments nothing is said. `language` is an ISO 639 code."""

    language: str | None = None
    segments: tuple[SpokenSegment, ...] = ()

    @property
    def text(self) -> str:
        """All that is said, without times."""
        return " ".join(segment.text for segment in self.segments)

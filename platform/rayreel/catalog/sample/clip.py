"""What a clip of the sample set looks and sounds like, how it moves, and what its catalog row says."""

from dataclasses import dataclass
from datetime import datetime

FRAME_RATE = 24  # of every clip, per second

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class Look:
    """What is seen. Palette: three backdrop colours, then the sprites'. `size` is a radius in frame heights."""

    backdrop: str
    palette: tuple[RGB, ...]
    shapes: tuple[str, ...]
    count: int
    size: float
    texture: float
    width: int = 320
    height: int = 240


@dataclass(frozen=True, slots=True)
class Motion:
    """How it moves: what the sprites do and how fast, the camera's pan, the picture's ripple; in frame heights."""

    kind: str
    speed: float
    pan: float = 0.0
    ripple: float = 0.0


@dataclass(frozen=True, slots=True)
class Band:
    """Noise between two frequencies, louder and softer `swell_hz` times a second."""

    hz: tuple[float, float]
    level: float
    swell_hz: float


@dataclass(frozen=True, slots=True)
class Grains:
    """Short decaying sweeps between two frequencies, partly `noise`; every second one `answer` times higher."""

    hz: tuple[float, float]
    seconds: float
    level: float
    per_second: float
    noise: float = 0.0
    regular: bool = False
    answer: float = 1.0


@dataclass(frozen=True, slots=True)
class Chord:
    """Held sines."""

    hz: tuple[float, ...] = ()
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleSound:
    """What is heard."""

    band: Band
    grains: Grains
    chord: Chord = Chord()


@dataclass(frozen=True, slots=True)
class SampleClip:
    """One clip to be rendered, and its catalog row. `file` is relative to the catalog's folder."""

    video_id: str
    title: str
    description: str
    category: str
    tags: tuple[str, ...]
    created_at: datetime
    file: str
    look: Look
    motion: Motion
    sound: SampleSound
    seconds: float
    seed: int

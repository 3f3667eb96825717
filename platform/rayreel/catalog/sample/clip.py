"""A clip of the sample set: its look, motion, sound and catalog columns."""

from dataclasses import dataclass
from datetime import datetime

FRAME_RATE = 24  # frames per second of every clip

RGB = tuple[int, int, int]


@dataclass(frozen=True, slots=True)
class ColourGrade:
    """The colours of a whole picture: saturation and light are factors, warmth moves red up and blue down."""

    saturation: float = 1.0
    light: float = 1.0
    warmth: float = 0.0


@dataclass(frozen=True, slots=True)
class Look:
    """Backdrop and sprites. `palette`: three backdrop colours, then sprite colours. `size`: radius in frame heights."""

    backdrop: str
    palette: tuple[RGB, ...]
    shapes: tuple[str, ...]
    count: int
    size: float
    texture: float
    width: int = 320
    height: int = 240
    grade: ColourGrade = ColourGrade()


@dataclass(frozen=True, slots=True)
class Motion:
    """Kind and speed of the sprites' motion, camera pan and image ripple, in frame heights."""

    kind: str
    speed: float
    pan: float = 0.0
    ripple: float = 0.0


@dataclass(frozen=True, slots=True)
class Band:
    """Noise between two frequencies whose volume rises and falls `swell_hz` times a second."""

    hz: tuple[float, float]
    level: float
    swell_hz: float


@dataclass(frozen=True, slots=True)
class Grains:
    """Short decaying sweeps between two frequencies, mixed with `noise`; every second one is `answer` times higher."""

    hz: tuple[float, float]
    seconds: float
    level: float
    per_second: float
    noise: float = 0.0
    regular: bool = False
    answer: float = 1.0


@dataclass(frozen=True, slots=True)
class Chord:
    """Sustained sine tones."""

    hz: tuple[float, ...] = ()
    level: float = 0.0


@dataclass(frozen=True, slots=True)
class SampleSound:
    """The sound of a clip: noise, sweeps and tones, and music under them."""

    band: Band
    grains: Grains
    chord: Chord = Chord()
    music: Chord = Chord()


@dataclass(frozen=True, slots=True)
class SampleClip:
    """A clip to render, with its catalog columns. `file` is relative to the catalog's folder.

    `style` is what viewers like about a clip beside its category. The catalog does not have it.
    """

    video_id: str
    title: str
    description: str
    category: str
    style: str
    tags: tuple[str, ...]
    created_at: datetime
    file: str
    look: Look
    motion: Motion
    sound: SampleSound
    seconds: float
    seed: int

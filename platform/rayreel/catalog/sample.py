"""The generated sample set: a plan of short, labelled clips, and of the people who watch them."""

import colorsys
import csv
import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from random import Random
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.random import Generator
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, model_validator

from rayreel.catalog.interactions import SCHEMA

FRAME_RATE = 24
FIRST_UPLOAD = datetime(2025, 10, 1, tzinfo=UTC)
FIRST_VIEW = datetime(2026, 1, 1, tzinfo=UTC)  # every clip is uploaded within the 90 days before it
PREFERRED_SHARE = 0.8
FRAME_SIZES = ((320, 240), (320, 180), (180, 320), (240, 240))

RGB = tuple[int, int, int]
Weights = NDArray[np.float64]


class SampleConfig(BaseModel):
    """How large the sample set is."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    clips: int = Field(default=120, ge=1, description="Clips in all, dealt evenly over the categories.")
    categories: int = Field(default=12, ge=2, le=12, description="How many of the twelve themes to use.")
    seed: int = Field(default=0, ge=0, description="Another seed gives other clips of the same themes.")
    users: int = Field(default=60, ge=1, description="Simulated viewers.")
    views_per_user: int = Field(default=20, ge=1, description="Mean number of views of a viewer.")
    min_seconds: float = Field(default=2.0, ge=0.5, le=60, description="Shortest clip, in seconds.")
    max_seconds: float = Field(default=4.0, ge=0.5, le=60, description="Longest clip, in seconds.")

    @model_validator(mode="after")
    def _bounds_in_order(self) -> Self:
        if self.min_seconds > self.max_seconds:
            raise ValueError("min_seconds is above max_seconds: lower min_seconds or raise max_seconds")
        return self


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
class Sound:
    """What is heard."""

    band: Band
    grains: Grains
    chord: Chord = Chord()


@dataclass(frozen=True, slots=True)
class Theme:
    """A category: its words, `|` between alternatives, and the middle of its looks, motions and sounds."""

    name: str
    subjects: str
    details: str
    sentences: str
    tags: str
    look: Look
    motion: Motion
    sound: Sound


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
    sound: Sound
    seconds: float
    seed: int


SHARED_TITLES = (
    "{0} {1}|{0} {1}|{0} {1}|{0} {1}|{0} {1} tonight|{0} {1}, part two|{0} {1} (slow)|Weekend favourite: {0} {1}"
    "|More {0} {1}|Just {0} {1}"
)
SHARED_SENTENCES = (
    "Recorded in one take, no edits.|Turn the sound on.|More of this next week.|Shot on a phone, no tripod.|"
    "Watch to the end.|A short one for a slow day."
)
SHARED_TAGS = "shorts|relaxing|weekend|nofilter|closeup|asmr"


def _palette(colours: str) -> tuple[RGB, ...]:
    return tuple((code[0], code[1], code[2]) for code in map(bytes.fromhex, colours.split()))


THEMES = (
    Theme(
        "ocean_waves",
        "rolling swell|foam and tide|big breakers|a long set of surf|salt spray|high water",
        "under the old pier|along black sand|hitting the harbour wall|off the lighthouse|over rock pools"
        "|curling ashore",
        "The sea came in fast with the wind behind it.|Surfers waited out by the reef."
        "|Gulls over the bay, salt in the air.",
        "sea|surf|beach|coast|tide|gulls",
        Look("sea", _palette("bcdee8 145c8c e6f6f8 fafafa"), ("gull",), count=5, size=0.07, texture=0.1),
        Motion("flap", 0.12, ripple=0.030),
        Sound(Band((60, 900), level=1.0, swell_hz=0.5), Grains((1500, 2100), seconds=0.25, level=0.06, per_second=0.6)),
    ),
    Theme(
        "city_traffic",
        "neon boulevard|rush hour headlights|downtown taxis|tail lights|a night bus ride|skyscraper windows",
        "after midnight|through the avenue|past the skyline|at the crossing|below the towers|on wet asphalt",
        "Commuters heading home across the bridge.|Cabs, buses and neon signs.|The metropolis does not sleep.",
        "urban|nightlife|cars|skyline|neon|street",
        Look(
            "skyline",
            _palette("0c0e2c 3a265c ffce6e ff3c32 fff0c8 ffaa3c"),
            ("glow",),
            count=14,
            size=0.055,
            texture=0.04,
        ),
        Motion("traffic", 0.55, pan=0.05),
        Sound(
            Band((80, 400), level=0.7, swell_hz=1.1),
            Grains((440, 415), seconds=0.35, level=0.3, per_second=0.8, noise=0.05, answer=1.25),
            Chord((62, 93, 124), level=0.5),
        ),
    ),
    Theme(
        "fireworks",
        "golden rockets|a sparkler finale|bursting peonies|birthday pyrotechnics|crackling comets|colourful explosions",
        "above the stadium|for grandma's seventieth|at the new year countdown|lighting up the river|over the fairground"
        "|as everyone cheers",
        "Ten minutes of rockets and bangs.|The crowd gasped at the grand finale."
        "|Sparks, smoke and a happy birthday song.",
        "celebration|party|sparks|newyear|birthday|rockets",
        Look(
            "night",
            _palette("080618 281038 06050c ff5a78 ffd25a 6edcff be82ff"),
            ("glow", "spark"),
            count=150,
            size=0.028,
            texture=0.03,
        ),
        Motion("burst", 0.42),
        Sound(
            Band((40, 160), level=0.15, swell_hz=0.4),
            Grains((150, 45), seconds=0.55, level=1.0, per_second=2.2, noise=0.55, answer=2.5),
        ),
    ),
    Theme(
        "snowfall",
        "first flurries|powder and pines|thick flakes|a frosty blizzard|fresh winter white|icy drifts",
        "covering the cabin|across the frozen lake|in the alpine valley|settling on spruce branches"
        "|before the ski lift opens|down the mountain pass",
        "Minus eight and perfectly still.|The plough has not come yet.|Boots, mittens and a thermos of cocoa.",
        "winter|snow|mountains|cold|ski|frost",
        Look("pines", _palette("7892b2 bacadc f8fafd ffffff"), ("flake", "glow"), count=75, size=0.022, texture=0.03),
        Motion("fall", 0.25),
        Sound(
            Band((500, 1100), level=0.5, swell_hz=0.3),
            Grains((2637, 2637), seconds=0.7, level=0.35, per_second=1.2, answer=1.33),
            Chord((880, 1320), level=0.12),
        ),
    ),
    Theme(
        "cooking",
        "garlic and tomatoes|sizzling peppers|a quick stir fry|grandad's paella|butter and onions|crispy dumplings",
        "in the iron skillet|with basil and lemon|simmering down|ready in ten minutes|tossed with noodles"
        "|browning nicely",
        "Full recipe below, serves four.|Medium heat, plenty of oil and a pinch of salt."
        "|Dinner smells delicious already.",
        "food|recipe|kitchen|dinner|homemade|tasty",
        Look(
            "pan",
            _palette("b07a4a 2c2828 d69634 ce2e20 569632 f6e2aa f0ba32"),
            ("disc", "ring", "box"),
            count=26,
            size=0.06,
            texture=0.1,
        ),
        Motion("simmer", 0.9),
        Sound(
            Band((3500, 9000), level=0.9, swell_hz=3.0),
            Grains((2400, 1800), seconds=0.03, level=0.7, per_second=14.0, noise=0.8),
        ),
    ),
    Theme(
        "football",
        "a last minute goal|the winning penalty|midfield passing|a clever dribble|our under twelves|corner kick drama",
        "in the cup semifinal|against the league leaders|from thirty yards|beating the keeper|after extra time"
        "|at the muddy village ground",
        "Two all at half time and then this.|The referee had no doubts.|What a strike, the fans went wild.",
        "soccer|goal|match|league|sport|fans",
        Look(
            "pitch",
            _palette("408e3a 54a646 f0f6ee d6282e fafafa 1e3caa"),
            ("player",),
            count=13,
            size=0.06,
            texture=0.05,
        ),
        Motion("roam", 0.35, pan=0.16),
        Sound(
            Band((300, 1400), level=0.8, swell_hz=1.6),
            Grains((2850, 2900), seconds=0.3, level=0.5, per_second=0.9, noise=0.1, answer=1.02),
        ),
    ),
    Theme(
        "forest_birds",
        "robins and wrens|the dawn chorus|a pair of finches|warblers singing|one shy woodpecker|nesting thrushes",
        "high in the beeches|among mossy oaks|along the fern trail|deep in the woodland|calling through the canopy"
        "|near the hide",
        "Heard six species from this bench.|Bring binoculars and patience.|Leaves, feathers and birdsong.",
        "nature|birdwatching|woods|wildlife|trees|songbirds",
        Look(
            "forest",
            _palette("bad078 2e5c2c 3a2a1c c85028 3c4682 ecd696"),
            ("bird",),
            count=7,
            size=0.085,
            texture=0.22,
        ),
        Motion("flap", 0.30, pan=0.04),
        Sound(
            Band((200, 700), level=0.12, swell_hz=0.4),
            Grains((3400, 4700), seconds=0.13, level=1.0, per_second=5.0, answer=1.22),
        ),
    ),
    Theme(
        "drum_lesson",
        "paradiddles|a steady backbeat|snare rudiments|groove practice|ghost notes and fills|hi hat patterns",
        "at ninety bpm|for beginners|with the metronome|counting sixteenths|behind a rock chorus|on a new kit",
        "Keep the wrists loose and count aloud.|Sticking chart in the first comment."
        "|Kick on one and three, snare on two and four.",
        "percussion|music|tutorial|rhythm|practice|beats",
        Look(
            "stage", _palette("240e14 96222c fabe5a f6eede e6b046 d83c34"), ("drum",), count=4, size=0.15, texture=0.05
        ),
        Motion("beat", 2.2),
        Sound(
            Band((5000, 9000), level=0.03, swell_hz=2.0),
            Grains((190, 55), seconds=0.16, level=1.0, per_second=4.4, noise=0.25, regular=True, answer=5.0),
        ),
    ),
    Theme(
        "deep_space",
        "drifting past nebulae|orbiting a gas giant|a starfield journey|spiral galaxies|toward the red planet"
        "|comet dust",
        "at warp speed|beyond the asteroid belt|seen by the telescope|among dying suns|light years from Earth"
        "|on the probe's camera",
        "Rendered from real astronomy catalogues.|Somewhere in the constellation Orion."
        "|The universe is mostly silence.",
        "astronomy|galaxy|stars|cosmos|planets|scifi",
        Look(
            "nebula",
            _palette("060616 5c288c 3c82be ffffff b4d2ff ffdcbe"),
            ("glow", "spark"),
            count=90,
            size=0.017,
            texture=0.45,
        ),
        Motion("zoom", 0.35),
        Sound(
            Band((30, 120), level=0.4, swell_hz=0.2),
            Grains((1200, 600), seconds=0.9, level=0.06, per_second=0.5),
            Chord((55, 82.5, 110.4, 165.7), level=1.0),
        ),
    ),
    Theme(
        "chess",
        "a queen sacrifice|knight forks|the Sicilian defence|checkmate threats|an endgame with rooks|castling early",
        "in a blitz final|against a grandmaster|explained move by move|with seconds on the clock|winning the bishop"
        "|from the school club",
        "White to play and win.|Opening theory, then a blunder on move twenty.|Can you find the best pawn push?",
        "boardgame|strategy|puzzle|opening|checkmate|tactics",
        Look(
            "board",
            _palette("eedcb8 966440 5a3822 221e1e fcf6e8"),
            ("pawn", "rook", "bishop"),
            count=9,
            size=0.085,
            texture=0.06,
        ),
        Motion("step", 0.8),
        Sound(
            Band((90, 200), level=0.03, swell_hz=0.3),
            Grains((1150, 900), seconds=0.05, level=1.0, per_second=2.0, noise=0.15, regular=True, answer=0.8),
        ),
    ),
    Theme(
        "aquarium",
        "clownfish and coral|neon tetras|an angelfish parade|bubbling filters|the reef tank|lazy guppies",
        "behind the glass|weaving between seaweed|at feeding time|in the big saltwater display|chasing bubbles"
        "|hiding in anemones",
        "Water is twenty five degrees, nitrates low.|The fish know when lunch is due."
        "|Planted last spring and thriving.",
        "fish|fishkeeping|reef|underwater|coral|tank",
        Look(
            "water",
            _palette("46ced6 0a5480 228260 ff8c1e ffd63c e8468c"),
            ("fish",),
            count=11,
            size=0.085,
            texture=0.08,
        ),
        Motion("swim", 0.22, ripple=0.008),
        Sound(
            Band((100, 300), level=0.3, swell_hz=0.5),
            Grains((420, 1250), seconds=0.08, level=1.0, per_second=7.0, answer=1.4),
        ),
    ),
    Theme(
        "sunset_drone",
        "golden hour flight|aerial dusk views|gliding toward the horizon|crimson clouds|the last light"
        "|purple ridgelines",
        "above the canyon|over vineyard terraces|across desert dunes|from four hundred feet|circling the summit"
        "|as the sun dips",
        "Two batteries and no wind at all.|The sky turned orange, then violet."
        "|Flown by permission of the park rangers.",
        "aerial|goldenhour|landscape|sky|travel|dusk",
        Look("hills", _palette("603478 ff9848 36183a ffc496 ff9682"), ("cloud",), count=6, size=0.16, texture=0.04),
        Motion("swim", 0.05, pan=0.14),
        Sound(
            Band((100, 400), level=0.05, swell_hz=0.3),
            Grains((440, 440), seconds=0.6, level=0.35, per_second=2.5, regular=True, answer=1.5),
            Chord((220, 277.2, 329.6, 415.3), level=1.0),
        ),
    ),
)


def plan_sample(config: SampleConfig) -> list[SampleClip]:
    """Plan the set: categories take turns, so that any first part of it is mixed too. One seed, one plan.

    A clip depends on the seed, its category and its number there, so a larger set begins with the smaller one.
    """
    return [_plan_clip(THEMES[i % config.categories], i // config.categories, config) for i in range(config.clips)]


def _plan_clip(theme: Theme, number: int, config: SampleConfig) -> SampleClip:
    rng = Random(f"{config.seed}/{theme.name}/{number}")
    video_id = f"{theme.name}_{number + 1:03d}"
    shortest = math.ceil(config.min_seconds * FRAME_RATE)
    frames = rng.randint(shortest, max(shortest, math.floor(config.max_seconds * FRAME_RATE)))
    return SampleClip(
        video_id=video_id,
        title=_title(theme, number, config.seed),
        description=f"{_any(rng, theme.sentences)} {_any(rng, SHARED_SENTENCES)}",
        category=theme.name,
        tags=(*rng.sample(theme.tags.split("|"), 3), _any(rng, SHARED_TAGS)),
        created_at=FIRST_UPLOAD + timedelta(minutes=rng.randrange(90 * 24 * 60)),
        file=f"{theme.name}/{video_id}.mp4",
        look=_vary_look(theme.look, rng),
        motion=_vary_motion(theme.motion, rng),
        sound=_vary_sound(theme.sound, rng),
        seconds=frames / FRAME_RATE,
        seed=rng.getrandbits(32),
    )


def _any(rng: Random, alternatives: str) -> str:
    return rng.choice(alternatives.split("|"))


def _title(theme: Theme, number: int, seed: int) -> str:
    """Every pairing of a subject and a detail is used once before any returns."""
    pairs = [(subject, detail) for subject in theme.subjects.split("|") for detail in theme.details.split("|")]
    rng = Random(f"{seed}/{theme.name}/titles/{number // len(pairs)}")
    rng.shuffle(pairs)
    form = _any(Random(f"{seed}/{theme.name}/title/{number}"), SHARED_TITLES)
    title = form.format(*pairs[number % len(pairs)])
    return title[0].upper() + title[1:]


def _vary_look(look: Look, rng: Random) -> Look:
    turn, light = rng.uniform(-0.03, 0.03), rng.uniform(0.88, 1.1)
    width, height = rng.choice(FRAME_SIZES)
    return replace(
        look,
        palette=tuple(_tint(colour, turn, light) for colour in look.palette),
        count=max(1, round(look.count * rng.uniform(0.7, 1.35))),
        size=look.size * rng.uniform(0.8, 1.25),
        width=width,
        height=height,
    )


def _tint(colour: RGB, turn: float, light: float) -> RGB:
    hue, saturation, value = colorsys.rgb_to_hsv(*(channel / 255 for channel in colour))
    red, green, blue = colorsys.hsv_to_rgb((hue + turn) % 1, saturation, min(1, value * light))
    return round(red * 255), round(green * 255), round(blue * 255)


def _vary_motion(motion: Motion, rng: Random) -> Motion:
    pace = rng.uniform(0.7, 1.4)
    return replace(motion, speed=motion.speed * pace, pan=motion.pan * pace * rng.choice((-1, 1)))


def _vary_sound(sound: Sound, rng: Random) -> Sound:
    key, pace = 2 ** (rng.randint(-4, 4) / 12), rng.uniform(0.8, 1.25)
    band, grains, chord = sound.band, sound.grains, sound.chord
    return Sound(
        replace(band, hz=(band.hz[0] * key, band.hz[1] * key), swell_hz=band.swell_hz * pace),
        replace(grains, hz=(grains.hz[0] * key, grains.hz[1] * key), per_second=grains.per_second * pace),
        replace(chord, hz=tuple(pitch * key for pitch in chord.hz)),
    )


def simulate_interactions(clips: list[SampleClip], config: SampleConfig) -> pa.Table:
    """Who watched what, by time, in the columns of `catalog.interactions.SCHEMA`. Ratings go from 1 to 5.

    A viewer prefers two or three categories, takes four views in five from them while unseen clips remain, watches
    those longer and rates them higher. Some clips are more popular than others. Nobody sees a clip twice.
    """
    rng = np.random.default_rng([config.seed, 1])
    popularity = rng.lognormal(0.0, 0.7, len(clips))
    rows: list[dict[str, Any]] = []
    for user in range(config.users):
        views = _choose_views(clips, popularity, config.views_per_user, rng)
        rows += [{"user_id": f"user_{user + 1:03d}"} | view for view in views]
    rows.sort(key=lambda row: (row["timestamp"], row["user_id"]))
    return pa.Table.from_pylist(rows, schema=SCHEMA)


def _choose_views(clips: list[SampleClip], popularity: Weights, mean: int, rng: Generator) -> Iterator[dict[str, Any]]:
    """Yield one viewer's views; the viewer's taste is drawn first."""
    categories = np.array([clip.category for clip in clips])
    present = np.unique(categories)
    taste = rng.choice(present, min(int(rng.integers(2, 4)), max(1, len(present) - 1)), replace=False)
    preferred = np.isin(categories, taste)
    views = max(1, int(rng.poisson(mean)))
    inside = int(rng.binomial(views, PREFERRED_SHARE))
    seen = [*_draw(popularity * preferred, inside, rng), *_draw(popularity * ~preferred, views - inside, rng)]
    for i in seen:
        rating = np.clip(rng.normal(4.3, 0.6) if preferred[i] else rng.normal(2.7, 0.8), 1, 5)
        watched = rng.beta(6, 1.5) if preferred[i] else rng.beta(2, 3)
        yield {
            "video_id": clips[i].video_id,
            "timestamp": FIRST_VIEW + timedelta(seconds=int(rng.integers(60 * 24 * 3600))),
            "rating": round(float(rating), 1),
            "dwell_s": round(float(watched) * clips[i].seconds, 2),
        }


def _draw(weights: Weights, count: int, rng: Generator) -> list[int]:
    """Draw up to `count` different clips, never one of weight zero."""
    possible = int(np.count_nonzero(weights))
    if not possible:
        return []
    drawn = rng.choice(np.arange(len(weights)), min(count, possible), replace=False, p=weights / weights.sum())
    return [int(i) for i in drawn]


def write_manifest(clips: list[SampleClip], folder: Path) -> Path:
    """Write `folder`/catalog.csv, its uris relative to `folder`, and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "catalog.csv"
    with path.open("w", newline="", encoding="utf-8") as file:
        out = csv.writer(file, lineterminator="\n")
        out.writerow(["video_id", "uri", "title", "description", "category", "tags", "created_at"])
        for c in clips:
            row = [c.video_id, c.file, c.title, c.description, c.category, "|".join(c.tags), c.created_at.isoformat()]
            out.writerow(row)
    return path


def write_interactions(table: pa.Table, folder: Path) -> Path:
    """Write `folder`/interactions.csv and return its path."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / "interactions.csv"
    pa_csv.write_csv(table, path)
    return path

"""Plan the clips of the sample set as random variations of their themes."""

import colorsys
import itertools
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from rayreel.catalog.sample.clip import FRAME_RATE, RGB, Look, Motion, SampleClip, SampleSound
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.themes import THEMES, Theme
from rayreel.catalog.sample.words import SENTENCES, TAGS, TITLES

FIRST_UPLOAD = datetime(2025, 10, 1, tzinfo=UTC)
FRAME_SIZES = ((320, 240), (320, 180), (180, 320), (240, 240))


def plan_sample(config: SampleConfig) -> list[SampleClip]:
    """Plan the clips. Categories alternate, so any prefix of the list is mixed too. Deterministic for a given seed.

    A clip depends only on the seed, its category and its number in it, so a larger set starts with the smaller one.
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
        description=f"{_any(rng, theme.words.sentences)} {_any(rng, SENTENCES)}",
        category=theme.name,
        tags=(*rng.sample(theme.words.tags.split("|"), 3), _any(rng, TAGS)),
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
    """Return the title of a clip. Every combination of subject and detail is used once before any is repeated."""
    pairs = list(itertools.product(theme.words.subjects.split("|"), theme.words.details.split("|")))
    rng = Random(f"{seed}/{theme.name}/titles/{number // len(pairs)}")
    rng.shuffle(pairs)
    form = _any(Random(f"{seed}/{theme.name}/title/{number}"), TITLES)
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


def _vary_sound(sound: SampleSound, rng: Random) -> SampleSound:
    key, pace = 2 ** (rng.randint(-4, 4) / 12), rng.uniform(0.8, 1.25)
    band, grains, chord = sound.band, sound.grains, sound.chord
    return SampleSound(
        replace(band, hz=(band.hz[0] * key, band.hz[1] * key), swell_hz=band.swell_hz * pace),
        replace(grains, hz=(grains.hz[0] * key, grains.hz[1] * key), per_second=grains.per_second * pace),
        replace(chord, hz=tuple(pitch * key for pitch in chord.hz)),
    )

"""Plan the clips of the sample set as random variations of their themes."""

import colorsys
import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from random import Random

from rayreel.catalog.sample.clip import FRAME_RATE, RGB, Chord, ColourGrade, Look, Motion, SampleClip, SampleSound
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.shares import shares_of
from rayreel.catalog.sample.styles import STYLES
from rayreel.catalog.sample.themes import SILENCE, THEMES, Theme
from rayreel.catalog.sample.wording import choose_words

FIRST_UPLOAD = datetime(2025, 10, 1, tzinfo=UTC)
FRAME_SIZES = ((320, 240), (320, 180), (180, 320), (240, 240))
THEME_OF = {theme.name: theme for theme in THEMES}


def plan_sample(config: SampleConfig) -> list[SampleClip]:
    """Plan the clips. Categories alternate, so any prefix of the list is mixed too. Deterministic for a given seed.

    A clip depends only on the seed, its category and its number in it, so a larger set starts with the smaller one.
    """
    return [_plan_clip(THEMES[i % config.categories], i // config.categories, config) for i in range(config.clips)]


def _plan_clip(theme: Theme, number: int, config: SampleConfig) -> SampleClip:
    rng, shares = Random(f"{config.seed}/{theme.name}/{number}"), shares_of(config)
    video_id = f"{theme.name}_{number + 1:03d}"
    shortest = math.ceil(config.min_seconds * FRAME_RATE)
    frames = rng.randint(shortest, max(shortest, math.floor(config.max_seconds * FRAME_RATE)))
    words, style = choose_words(theme, number, config.seed, shares), rng.choice(STYLES)
    shown = theme if rng.random() < shares.own_look else THEME_OF[rng.choice(theme.also_like)]
    heard, grade, music = (rng.random() < share for share in (shares.own_sound, shares.graded, shares.music))
    return SampleClip(
        video_id=video_id,
        title=words.title,
        description=words.description,
        category=theme.name,
        style=style.name,
        tags=words.tags,
        created_at=FIRST_UPLOAD + timedelta(minutes=rng.randrange(90 * 24 * 60)),
        file=f"{theme.name}/{video_id}.mp4",
        look=_vary_look(shown.look, style.grade if grade else ColourGrade(), rng),
        motion=_vary_motion(shown.motion, rng),
        sound=replace(_vary_sound(theme.sound if heard else SILENCE, rng), music=style.music if music else Chord()),
        seconds=frames / FRAME_RATE,
        seed=rng.getrandbits(32),
    )


def _vary_look(look: Look, grade: ColourGrade, rng: Random) -> Look:
    turn, light = rng.uniform(-0.03, 0.03), rng.uniform(0.88, 1.1)
    width, height = rng.choice(FRAME_SIZES)
    return replace(
        look,
        palette=tuple(_tint(colour, turn, light) for colour in look.palette),
        count=max(1, round(look.count * rng.uniform(0.7, 1.35))),
        size=look.size * rng.uniform(0.8, 1.25),
        width=width,
        height=height,
        grade=grade,
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

"""Synthesise one clip's sound: a band of noise, a held chord and struck grains."""

import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.sample.clip import Band, Chord, Grains, SampleClip
from rayreel.media.render.arrays import Field

SAMPLE_RATE = 32_000


def synthesise(clip: SampleClip) -> NDArray[np.float32]:
    """Return the clip's sound, [samples] at SAMPLE_RATE, peak 0.6."""
    rng = np.random.default_rng([clip.seed, 1])
    t = np.arange(round(clip.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    mix = _noise(t, clip.sound.band, rng) + _held(t, clip.sound.chord, rng) + _struck(t, clip.sound.grains, rng)
    fade = np.minimum(1, np.minimum(t, t[::-1]) / 0.02)  # a hard edge would click, the same in every category
    return (0.6 * fade * mix / max(float(abs(mix).max()), 1e-6)).astype(np.float32)


def _noise(t: Field, band: Band, rng: Generator) -> Field:
    """White noise filtered to the band, standard deviation 0.3 at level 1."""
    spectrum = np.fft.rfft(rng.standard_normal(len(t)))
    hz = np.fft.rfftfreq(len(t), 1 / SAMPLE_RATE)
    spectrum[(hz < band.hz[0]) | (hz > band.hz[1])] = 0
    noise = np.fft.irfft(spectrum, len(t))
    swell = 0.6 + 0.4 * np.sin(2 * np.pi * band.swell_hz * t + rng.uniform(0, 6.3))
    return 0.3 * band.level * swell * noise / max(float(noise.std()), 1e-9)


def _held(t: Field, chord: Chord, rng: Generator) -> Field:
    tones = [np.sin(2 * np.pi * hz * t + rng.uniform(0, 6.3)) for hz in chord.hz]
    return chord.level * np.mean(tones, axis=0) if tones else np.zeros_like(t)


def _struck(t: Field, grains: Grains, rng: Generator) -> Field:
    """All grains, by the clock or at random times, a call and its answer in turn."""
    mix = np.zeros_like(t)
    count = max(1, round(len(t) / SAMPLE_RATE * grains.per_second))
    starts = (np.arange(count) + 0.3) / grains.per_second if grains.regular else np.sort(rng.random(count)) * t[-1]
    pair = [_grain(grains, 1.0, rng), _grain(grains, grains.answer, rng)]
    for k, start in enumerate((starts * SAMPLE_RATE).astype(int)):
        rest = mix[start : start + len(pair[k % 2])]
        rest += pair[k % 2][: len(rest)]
    return mix


def _grain(grains: Grains, ratio: float, rng: Generator) -> Field:
    samples = int(grains.seconds * SAMPLE_RATE)
    t = np.arange(samples) / samples
    tone = np.sin(2 * np.pi * np.cumsum(ratio * np.interp(t, (0, 1), grains.hz)) / SAMPLE_RATE)
    wave = (1 - grains.noise) * tone + 0.5 * grains.noise * rng.standard_normal(samples)
    return grains.level * wave * np.exp(-5 * t) * np.minimum(1, 40 * t)

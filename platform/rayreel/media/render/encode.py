"""Encode one clip of the sample set into a file, with synthesised sound: noise, a held chord and struck grains."""

import os
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.random import Generator
from numpy.typing import NDArray

from rayreel.catalog.sample.clip import FRAME_RATE, Band, Chord, Grains, SampleClip
from rayreel.media.render.draw import draw
from rayreel.media.render.shapes import Field

SAMPLE_RATE = 32_000


def render(clip: SampleClip, path: Path) -> None:
    """Write `clip` to `path` as MP4 (H.264 yuv420p, AAC mono), a keyframe each second. Parent folders are made.

    The same clip gives the same bytes on one machine: one encoder thread, no date and no writer's name in the file.
    The file appears complete or not at all.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        _encode(clip, unfinished)
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)


def _encode(clip: SampleClip, path: Path) -> None:
    with av.open(path, "w", format="mp4", options={"fflags": "+bitexact", "movflags": "+faststart"}) as out:
        video = out.add_stream("libx264", rate=FRAME_RATE, options={"preset": "superfast", "crf": "25"})
        video.width, video.height, video.pix_fmt = clip.look.width, clip.look.height, "yuv420p"
        audio = out.add_stream("aac", rate=SAMPLE_RATE, layout="mono", options={"b": "64k"})
        for stream in (video, audio):
            stream.codec_context.thread_count = 1
            stream.codec_context.flags |= av.codec.context.Flags.bitexact
        video.codec_context.gop_size = FRAME_RATE
        wave = av.AudioFrame.from_ndarray(synthesise(clip)[None], format="fltp", layout="mono")
        wave.sample_rate, wave.time_base, wave.pts = SAMPLE_RATE, Fraction(1, SAMPLE_RATE), 0
        out.mux(audio.encode(wave))
        out.mux(audio.encode())
        for number, picture in enumerate(draw(clip)):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
            frame.time_base, frame.pts = Fraction(1, FRAME_RATE), number
            out.mux(video.encode(frame))
        out.mux(video.encode())


def synthesise(clip: SampleClip) -> NDArray[np.float32]:
    """Return the clip's sound, [samples] at SAMPLE_RATE, peak 0.6."""
    rng = np.random.default_rng([clip.seed, 1])
    t = np.arange(round(clip.seconds * SAMPLE_RATE)) / SAMPLE_RATE
    sound = clip.sound
    mix = _noise(t, sound.band, rng) + _struck(t, sound.grains, rng)
    mix += _held(t, sound.chord, rng) + _held(t, sound.music, rng)
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

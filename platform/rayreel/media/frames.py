"""The sampled frames of a video, small and square, at the least decoding."""

import math
from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rayreel.media.config import SamplingConfig
from rayreel.media.decoder import Decoder
from rayreel.media.keyframes import Timeline
from rayreel.media.orientation import announced_turn
from rayreel.media.packets import Film, Sample, survey
from rayreel.media.plan import Group, choose, near_s, uniform_times
from rayreel.media.square import Squares

Window = tuple[int, ...]  # ticks of consecutive frames


@dataclass(frozen=True, slots=True)
class Frames:
    """Squares [size, size, 3] RGB in time order, when the last one is shown, and whether some packet did not decode."""

    squares: list[NDArray[np.uint8]]
    last_s: float
    damaged: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """One run over packets: those from the keyframe at `start` on (None: all), and what is wanted of them."""

    start: int | None
    samples: Sequence[Sample]
    windows: list[Window]


def sample_frames(film: Film, timeline: Timeline, sampling: SamplingConfig, size: int) -> Frames:
    """`sampling.window` consecutive frames at each of `sampling.frames` uniform times, chosen by `sampling.mode`.

    One frame shown at several times comes once. A picture that does not decode is replaced by the one before it.
    """
    decoder = Decoder(film, exact=sampling.mode != "auto" or sampling.window > 1)
    squares = Squares(size, film.stream.sample_aspect_ratio, announced_turn(film))
    taken: dict[int, NDArray[np.uint8]] = {}
    windows: list[Window] = []
    for stretch in stretches(film, timeline, sampling):
        windows += stretch.windows
        wanted = sorted({tick for window in stretch.windows for tick in window})
        for tick, picture in decoder.pictures(stretch.start, stretch.samples, wanted):
            if tick not in taken:
                taken[tick] = squares.of(picture)
    return Frames(
        [taken[tick] for window in _found(windows, sorted(taken)) for tick in window],
        timeline.seconds(max(taken)) if taken else 0.0,
        decoder.damaged,
    )


def stretches(film: Film, timeline: Timeline, sampling: SamplingConfig) -> Iterator[Stretch]:
    """Runs over packets in which all targets are found, rising; no group of pictures is in two of them."""
    times_s = uniform_times(timeline.readable_s, sampling.frames)
    groups = choose(times_s, timeline.keyframes_s, near_s(sampling, timeline.readable_s))
    seekable = timeline.starts and (film.told_pts or not any(group.times_s for group in groups.values()))
    if sampling.window == 1 and seekable and (found := _seek_out(film, timeline, groups)):
        yield from found
        return
    if sampling.window == 1:
        times_s = sorted(t for k, group in groups.items() for t in _times(timeline, k, group))
    samples = timeline.samples or survey(film, None)
    ticks = [timeline.tick(time_s) for time_s in times_s]
    yield Stretch(None, samples, windows_at(samples, ticks, sampling.window))


def windows_at(samples: Sequence[Sample], ticks: Sequence[int], window: int) -> list[Window]:
    """For each tick the picture shown then and those after it; moved back at the end of the samples to be whole."""
    shown = sorted({sample.pts for sample in samples if sample.shown})
    places = [bisect_right(shown, tick) - 1 for tick in ticks]
    begins = [min(place, max(0, len(shown) - window)) for place in places if place >= 0]
    return [(*(part := shown[begin : begin + window]), *part[-1:] * (window - len(part))) for begin in begins]


def _seek_out(film: Film, timeline: Timeline, groups: dict[int, Group]) -> list[Stretch]:
    """A stretch per group of pictures; none at all where the index leads astray.

    An index knows when a keyframe is decoded, and how much later it is shown only roughly (open groups). A target that
    turns out to lie before its keyframe goes to the group before; so nothing is decoded until all are settled.
    """
    found: list[Stretch] = []
    early: tuple[float, ...] = ()
    for k in range(max(groups), -1, -1):
        group = groups.get(k, Group())
        ticks = {timeline.tick(time_s): time_s for time_s in (*group.times_s, *early)}
        if not ticks and not group.keyframe:
            continue
        samples = survey(film, timeline.starts[k], max(ticks, default=-math.inf))
        early = tuple(time_s for tick, time_s in ticks.items() if not samples or tick < samples[0].pts)
        windows = windows_at(samples, [tick for tick in ticks if ticks[tick] not in early], window=1)
        if group.keyframe and samples and samples[0].shown:
            windows.append((samples[0].pts,))
        if windows:
            found.append(Stretch(timeline.starts[k], samples, windows))
    return [] if early else found[::-1]


def _times(timeline: Timeline, k: int, group: Group) -> list[float]:
    return [*group.times_s, *([timeline.keyframes_s[k]] if group.keyframe else [])]


def _found(windows: Sequence[Window], ticks: Sequence[int]) -> list[Window]:
    """Windows in terms of the pictures that did decode, rising, none twice."""
    if not ticks:
        return []
    return sorted({tuple(ticks[max(0, bisect_right(ticks, tick) - 1)] for tick in window) for window in windows})

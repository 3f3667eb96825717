"""Sample frames of a video, small and square, with as little decoding as possible."""

import math
from bisect import bisect_right
from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from rayreel.media.colour import SmallRgb
from rayreel.media.config import SamplingConfig
from rayreel.media.decoder import Decoder
from rayreel.media.keyframes import Timeline
from rayreel.media.orientation import UPRIGHT, Turn, announced_turn, turn_of
from rayreel.media.packets import Film, Sample, survey
from rayreel.media.plan import Group, ahead, choose, near_s, target_times

Window = tuple[int, ...]  # ticks of consecutive frames
# A picture of a new scene cannot be predicted from earlier ones, so its packet is large: (times the largest of the last
# `_PACKETS`, share of the keyframe). On real clips this moves one in forty displaced pictures and costs 2 % more
# decoding. Lower thresholds cost more than they find.
_STANDS_OUT = ((2.0, 0.1), (1.3, 0.5))
_PACKETS = 25
_FEWEST = 3
_MOST_STRETCH = 10.0  # a larger pixel aspect is damage


@dataclass(frozen=True, slots=True)
class Frames:
    """RGB squares [size, size, 3] in time order, the time of the last one, and whether a packet failed to decode."""

    squares: list[NDArray[np.uint8]]
    last_s: float
    damaged: bool


@dataclass(frozen=True, slots=True)
class Stretch:
    """One run over the packets from the keyframe at `start` (None: all packets), and the windows to take from it."""

    start: int | None
    samples: Sequence[Sample]
    windows: list[Window]


def sample_frames(film: Film, timeline: Timeline, sampling: SamplingConfig, size: int) -> Frames:
    """Take `sampling.window` consecutive frames at each of the `target_times`, as `sampling.mode` says.

    A frame that is on screen at several of these times is returned once. A picture that cannot be decoded is replaced
    by the previous one.
    """
    decoder = Decoder(film, exact=sampling.is_exact)
    squares = Squares(size, film.stream.sample_aspect_ratio, announced_turn(film), squeeze=sampling.squeeze)
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
    """Yield runs over packets that cover all targets, in ascending order; no group of pictures is in two of them."""
    times_s, near = target_times(sampling, timeline.readable_s), near_s(sampling, timeline.readable_s)
    packets = _Packets(film, timeline)
    barred_s = set(_barred(packets, times_s, near)) if 0 < near < math.inf and sampling.window == 1 else ()
    groups = choose(times_s, timeline.keyframes_s, near, barred_s)
    seekable = timeline.starts and (film.has_pts or not any(group.times_s for group in groups.values()))
    if sampling.window == 1 and seekable and (found := _seek_out(packets, groups)):
        yield from found
        return
    samples = timeline.samples or survey(film, None)
    ticks = [timeline.tick(time_s) for time_s in times_s]
    if sampling.window == 1:
        ticks = sorted(tick for k, group in groups.items() for tick in _read_on(packets, k, group))
    yield Stretch(None, samples, windows_at(samples, ticks, sampling.window))


class _Packets:
    """Packets of a film by group of pictures; caches the groups it has read."""

    def __init__(self, film: Film, timeline: Timeline) -> None:
        self.timeline = timeline
        self._film = film
        self._read: dict[int, tuple[float, Sequence[Sample]]] = {}

    def group(self, k: int, until: float) -> Sequence[Sample]:
        """Return the packets from keyframe `k`, at least those of pictures shown up to tick `until`."""
        read_until, samples = self._read.get(k, (-math.inf, ()))
        if not samples or until > read_until:
            samples = self._from(k, until)
            self._read[k] = until, samples
        return samples

    def _from(self, k: int, until: float) -> Sequence[Sample]:
        if self.timeline.starts:
            return survey(self._film, self.timeline.starts[k], until)
        key, samples = self.timeline.tick(self.timeline.keyframes_s[k]), self.timeline.samples
        return samples[next((i for i, s in enumerate(samples) if s.keyframe and s.pts >= key), len(samples)) :]


def _barred(packets: _Packets, times_s: Sequence[float], near: float) -> Iterator[float]:
    """Yield targets that must not use the next keyframe, because the scene changes shortly before the target.

    That scene may end before the keyframe and would then be missed.
    """
    timeline = packets.timeline
    for number, k in ahead(times_s, timeline.keyframes_s, near):
        target = timeline.tick(times_s[number])
        begin_s = max(timeline.keyframes_s[k - 1], times_s[number - 1] - near if number else 0.0)
        if changes(packets.group(k - 1, target), timeline.tick(begin_s), target):
            yield times_s[number]


def windows_at(samples: Sequence[Sample], ticks: Sequence[int], window: int) -> list[Window]:
    """Return for each tick the picture on screen and the next ones, `window` in all; the last windows start earlier."""
    shown = sorted({sample.pts for sample in samples if sample.shown})
    places = [bisect_right(shown, tick) - 1 for tick in ticks]
    begins = [min(place, max(0, len(shown) - window)) for place in places if place >= 0]
    return [(*(part := shown[begin : begin + window]), *part[-1:] * (window - len(part))) for begin in begins]


def _seek_out(packets: _Packets, groups: dict[int, Group]) -> list[Stretch]:
    """Return a stretch per group of pictures; none at all if the index is wrong.

    An index has the decode time of a keyframe, and its display time only roughly (open groups). A target that turns out
    to be before its keyframe moves to the previous group, so nothing is decoded until all targets are assigned.
    """
    found: list[Stretch] = []
    early: list[int] = []
    timeline = packets.timeline
    for k in range(max(groups), -1, -1):
        group = groups.get(k, Group())
        if not (group.times_s or group.keyframe or early):
            continue
        samples = packets.group(k, max([*early, *_ends(timeline, group)], default=-math.inf))
        key = samples[0].pts if samples else math.inf
        ticks, keyframe = _settled(timeline, group, key, samples)
        windows = windows_at(samples, [tick for tick in (*ticks, *early) if tick >= key], window=1)
        early = [tick for tick in (*ticks, *early) if tick < key]
        if keyframe and samples and samples[0].shown:
            windows.append((samples[0].pts,))
        if windows:
            found.append(Stretch(timeline.starts[k], samples, windows))
    return [] if early else found[::-1]


def _read_on(packets: _Packets, k: int, group: Group) -> list[int]:
    """Return the ticks to take of group `k` if all packets are read in one run."""
    key = packets.timeline.tick(packets.timeline.keyframes_s[k])
    # A wrong index is no guide to scene changes either.
    samples = () if packets.timeline.starts else packets.group(k, math.inf)
    ticks, keyframe = _settled(packets.timeline, group, key, samples)
    return [*ticks, key] if keyframe else ticks


def _ends(timeline: Timeline, group: Group) -> list[int]:
    return [timeline.tick(time_s) for time_s in (*group.times_s, group.reach_s) if time_s > -math.inf]


def _settled(timeline: Timeline, group: Group, key: float, samples: Sequence[Sample]) -> tuple[list[int], bool]:
    """Return the ticks to take of a group of pictures besides its keyframe, and whether to take the keyframe.

    If the scene changes between the picture and its target, the first picture of the new scene is taken.
    """
    ticks = [timeline.tick(time_s) for time_s in group.times_s]
    reach = timeline.tick(group.reach_s) if group.reach_s > -math.inf else -math.inf
    if reach > -math.inf and (cuts := changes(samples, ticks[-1] if ticks else key, reach)):
        return [*ticks[:-1], cuts[-1]], group.keyframe_too
    return ticks, group.keyframe


def _found(windows: Sequence[Window], ticks: Sequence[int]) -> list[Window]:
    """Map windows to the pictures that were decoded; ascending, without duplicates."""
    if not ticks:
        return []
    return sorted({tuple(ticks[max(0, bisect_right(ticks, tick) - 1)] for tick in window) for window in windows})


def changes(samples: Sequence[Sample], after: float, until: float) -> list[int]:
    """Return the ticks of likely first pictures of a scene, later than tick `after` and up to `until`.

    These have a packet much larger than the previous ones, and not tiny compared with the keyframe.
    """
    found: list[int] = []
    keyframe, before = 0, deque[int](maxlen=_PACKETS)
    for sample in samples:
        if sample.dts is not None and sample.dts > until:
            break
        if sample.keyframe:
            keyframe = sample.size
            continue
        if after < sample.pts <= until and len(before) >= _FEWEST and _stands_out(sample.size, max(before), keyframe):
            found.append(sample.pts)
        before.append(sample.size)
    return found


def _stands_out(size: int, largest: int, keyframe: int) -> bool:
    return any(size >= times * largest and size >= share * keyframe for times, share in _STANDS_OUT)


class Squares:
    """Scales frames to short side `size`, turns them upright and crops the centre: uint8 RGB [size, size, 3].

    `aspect` is the stream's pixel aspect ratio; non-square pixels are stretched before the turn. `turn` applies to
    frames without their own display matrix. With `squeeze`, both sides are scaled to `size` and nothing is cropped.
    """

    def __init__(self, size: int, aspect: Fraction | None, turn: Turn = UPRIGHT, *, squeeze: bool = False) -> None:
        self._size, self._turn, self._squeeze = size, turn, squeeze
        self._aspect = float(aspect) if aspect and 1 / _MOST_STRETCH < aspect < _MOST_STRETCH else 1.0
        self._rgb = SmallRgb()

    def of(self, frame: VideoFrame) -> NDArray[np.uint8]:
        """Scale, turn and crop one frame."""
        size = self._size
        small = self._rgb.of(frame, *self._scaled(frame))
        own = turn_of(frame)
        upright = (self._turn if own is None else own).of(small)
        top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
        return np.ascontiguousarray(upright[top : top + size, left : left + size])

    def _scaled(self, frame: VideoFrame) -> tuple[int, int]:
        """Return width and height before the turn and the crop."""
        size, width = self._size, frame.width * self._aspect
        if self._squeeze:
            return size, size
        scale = size / min(width, frame.height)
        return max(size, round(width * scale)), max(size, round(frame.height * scale))

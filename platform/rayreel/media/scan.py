"""Read all packets of a file on one continuous clock. Nothing is decoded."""

import logging
from dataclasses import dataclass, field

import numpy as np
from av.stream import Stream
from numpy.typing import NDArray

from rayreel.media.clock import Shift, Track, continuous, unmoved
from rayreel.media.packets import UNREADABLE_FROM_HERE, Film, Sample, demux, go_to, to_sample

_SEGMENT = 0x18538067
log = logging.getLogger(__name__)
_TURN_S = 2**33 / 90_000
# Formats without a header: their clock has 33 bits, and FFmpeg's duration of them is a guess.
HEADLESS = ("mpegts", "mpeg")
# Recordings in these containers may be concatenated byte by byte, so a longer step of the clock, seconds, is a jump. In
# the other containers it is a picture that stays on screen, as a shorter step is in FLV.
_LEAPS = {"mpegts": 3.0, "mpeg": 3.0, "flv": 10.0, "mov,mp4,m4a,3gp,3g2,mj2": 10.0}


def segment_end(head: bytes) -> int | None:
    """Return the file size declared in the first bytes, `head`; None if there is none. A smaller file is truncated."""
    place = 0
    while len(head) - place > 12:  # room for an element's ID and its size
        name = int.from_bytes(head[place : place + _width(head[place])], "big")
        place += _width(head[place])
        width = _width(head[place])
        length = int.from_bytes(head[place : place + width], "big") & ((1 << 7 * width) - 1)
        place += width
        if name == _SEGMENT:
            # All ones means "unknown": live recorders never return to the header to write the size.
            return None if length == (1 << 7 * width) - 1 else place + length
        place += length
    return None


def _width(first: int) -> int:
    """Return the number of bytes of an EBML number, from its first byte."""
    return 9 - first.bit_length()


@dataclass(frozen=True, slots=True)
class SoundPackets:
    """When audio packets begin and end, in ticks of their stream's clock, made continuous [n].

    `moved`: whether some of these times differ from those in the file.
    """

    begins: NDArray[np.int64]
    ends: NDArray[np.int64]
    moved: bool


@dataclass(frozen=True, slots=True)
class Scan:
    """Video packets in file order, audio packets by stream index, and whether the file is truncated."""

    samples: list[Sample]
    sounds: dict[int, SoundPackets]
    cut: bool


@dataclass(slots=True)
class _Times:
    """The times of one stream's packets, ticks, and their offsets in the file, bytes."""

    tick_s: float
    order: list[int] = field(default_factory=list)
    dts: list[int] = field(default_factory=list)
    begins: list[int] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)

    def add(self, place: int | None, sample: Sample) -> None:
        # By offset, not in order of reading: FFmpeg returns an MPEG packet only when the next of its stream begins.
        before = self.order[-1] if self.order else 0
        self.order.append(before if place is None else max(before, place))
        self.dts.append(sample.pts if sample.dts is None else sample.dts)
        self.begins.append(sample.pts)
        self.ends.append(sample.end)

    def track(self) -> Track:
        dts, begins, ends = (np.array(ticks) * self.tick_s for ticks in (self.dts, self.begins, self.ends))
        return Track(np.array(self.order), dts, begins, ends)

    def ticks(self, seconds: NDArray[np.float64]) -> NDArray[np.int64]:
        return np.round(seconds / self.tick_s).astype(np.int64)


def scan(film: Film, start: int | None = None) -> Scan:
    """Read the video packets and those of every audio track from the keyframe at `start`, up to where reading fails."""
    streams: tuple[Stream, ...] = (film.stream, *film.container.streams.audio)
    times = {stream.index: _Times(float(stream.time_base or 1)) for stream in streams}
    samples: list[Sample] = []
    broken = False
    try:
        go_to(film, start)
        for packet in demux(film, *streams):
            of_video = packet.stream_index == film.stream.index
            sample = to_sample(packet, film.has_pts if of_video else True)
            times[packet.stream_index].add(packet.pos, sample)
            broken = packet.is_corrupt
            if of_video:
                samples.append(sample)
    except UNREADABLE_FROM_HERE as error:
        broken = True
        log.debug("reading ends early", extra={"file": film.container.name, "error": str(error)})
    name = film.container.format.name
    if not samples:
        return Scan([], {}, cut=True)
    cut = broken or (segment_end(film.head) or 0) > film.container.size
    tracks = {stream: packets.track() for stream, packets in times.items() if packets.order}
    gap_s, wrap_s = _LEAPS.get(name, np.inf), _TURN_S if name in HEADLESS else np.inf
    # In MP4 with one table of all packets the clock is continuous. Edit lists only step back over hidden pictures.
    shifts = unmoved(tracks) if film.is_mov and film.stream.frames else continuous(tracks, gap_s, wrap_s)
    video = shifts.pop(film.stream.index)
    sounds = {stream: _sound(times[stream], shift) for stream, shift in shifts.items()}
    return Scan(_moved(samples, video, times[film.stream.index]), sounds, cut)


def _sound(times: _Times, shift: Shift) -> SoundPackets:
    later = times.ticks(shift.shown_s)
    return SoundPackets(np.array(times.begins) + later, np.array(times.ends) + later, bool(later.any()))


def _moved(samples: list[Sample], shift: Shift, times: _Times) -> list[Sample]:
    """Return the samples on the continuous clock."""
    later, later_dts = times.ticks(shift.shown_s), times.ticks(shift.times_s)
    if not (later.any() or later_dts.any()):
        return samples
    visible = _visible(samples, shift.pieces)
    return [
        Sample(
            sample.pts + by,
            sample.end + by,
            None if sample.dts is None else sample.dts + by_dts,
            sample.keyframe,
            sample.shown and is_visible,
            sample.size,
        )
        for sample, by, by_dts, is_visible in zip(
            samples, later.tolist(), later_dts.tolist(), visible.tolist(), strict=True
        )
    ]


def _visible(samples: list[Sample], pieces: NDArray[np.int64]) -> NDArray[np.bool_]:
    """Return False for pictures before the first keyframe of a later recording: they cannot be decoded."""
    visible = np.ones(len(samples), bool)
    keyframes = np.array([sample.keyframe for sample in samples])
    for begin in np.flatnonzero(np.diff(pieces)) + 1:
        later = np.flatnonzero(keyframes[begin:] & (pieces[begin:] == pieces[begin]))
        if len(later):  # streams with intra refresh may flag no keyframe
            visible[begin : begin + later[0]] = False
    return visible

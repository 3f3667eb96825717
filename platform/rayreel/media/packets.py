"""A video's packets without their pictures: what is shown when."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import av
import numpy as np
from av.container import InputContainer
from av.packet import Packet
from av.stream import Stream
from av.video.stream import VideoStream

from rayreel.media.clock import absurd
from rayreel.media.open import Deadline
from rayreel.media.streams import pick_video

log = logging.getLogger(__name__)

# The second is -1, what demuxers answer when they cannot seek; the third is for a damaged index's absurd times.
UNREADABLE_FROM_HERE = (av.error.InvalidDataError, av.error.PermissionError, OverflowError)
# Their clock may run past a turn or jump, and then no time leads to the first packet.
_REWOUND_BY_BYTES = ("mpegts", "mpeg", "flv", "matroska,webm")
# No picture waits longer between decoding and showing, at usual frame rates or at one picture a minute.
_ABSURD_S = 10.0
_ABSURD_STEPS = 20


@dataclass(frozen=True, slots=True)
class Film:
    """An open file, its video stream and the time left for it.

    `told_pts`: whether packets say when they are shown. AVI holds decode times alone, and FFmpeg guesses the rest wrong
    where pictures change order. `head`: the first bytes of the file, if known.
    """

    container: InputContainer
    stream: VideoStream
    deadline: Deadline
    told_pts: bool
    head: bytes = b""

    @property
    def tick_s(self) -> float:
        """Length of one unit of the stream's clock, seconds."""
        return float(self.stream.time_base or 1 / av.time_base)

    @property
    def is_matroska(self) -> bool:
        """Whether the container is Matroska or WebM, whose index holds keyframes alone."""
        return "matroska" in self.container.format.name

    @property
    def is_mov(self) -> bool:
        """Whether the container is of MP4's family, which has edit lists."""
        return "mov" in self.container.format.name


def film_in(container: InputContainer, deadline: Deadline, head: bytes = b"") -> Film:
    """The film of a file just opened, which has one; `head` is the beginning of the file."""
    stream = pick_video(container)
    assert stream is not None
    told_pts = container.format.name != "avi" or not stream.codec_context.has_b_frames
    return Film(container, stream, deadline, told_pts, head)


class Sample(NamedTuple):
    """One packet: when its picture is shown, until when, from when it is decoded; in ticks of the stream's clock.

    `size` in bytes tells how much is new in the picture.
    """

    pts: int
    end: int
    dts: int | None
    keyframe: bool
    shown: bool
    size: int = 0


def rewind(container: InputContainer) -> None:
    """Go to the first packet."""
    if container.format.name != "matroska,webm":  # and there it also takes back that the end was reached
        by_bytes = container.format.name in _REWOUND_BY_BYTES
        container.seek(0, unsupported_byte_offset=True) if by_bytes else container.seek(0)
        return
    container.seek(0)
    container.seek(0, unsupported_byte_offset=True)


def demux(film: Film, *streams: Stream) -> Iterator["Packet[Any]"]:
    """Packets of these streams from where the file is, in the order of the file. Raises where reading fails."""
    for packet in film.container.demux(*streams):
        film.deadline.check()
        if packet.dts is not None or packet.pts is not None:
            yield packet


def go_to(film: Film, start: int | None) -> None:
    """Go to the keyframe at `start`, or to the first packet."""
    if start is None:
        rewind(film.container)
    else:
        film.container.seek(start, stream=film.stream)


def read_packets(film: Film, start: int | None) -> Iterator["Packet[VideoStream]"]:
    """Video packets in decode order from the keyframe at `start` on, or all of them; ends early where reading fails."""
    try:
        go_to(film, start)
        yield from demux(film, film.stream)
    except UNREADABLE_FROM_HERE as error:
        log.debug("reading ends early", extra={"file": film.container.name, "error": str(error)})


def to_sample(packet: "Packet[VideoStream]", told_pts: bool) -> Sample:
    """Decode times stand in where nothing says when a packet is shown: in order, they are the display times."""
    known = packet.pts if told_pts else packet.dts
    pts = known if known is not None else packet.dts if packet.pts is None else packet.pts
    assert pts is not None
    end = pts + (packet.duration or 0)
    return Sample(pts, end, packet.dts, packet.is_keyframe, not packet.is_discard, packet.size)


def survey(film: Film, start: int | None, until: float | None = None) -> list[Sample]:
    """Packets from the keyframe at `start` until every picture shown up to tick `until` is among them; no decoding."""
    samples: list[Sample] = []
    doubtful, most = False, _ABSURD_S / film.tick_s
    for packet in read_packets(film, start):
        samples.append(sample := to_sample(packet, film.told_pts))
        doubtful = doubtful or (sample.dts is not None and abs(sample.pts - sample.dts) > most)
        # Nothing is shown before it is decoded.
        if until is not None and packet.dts is not None and packet.dts > until:
            break
    return _shown_in_time(samples, film.tick_s) if doubtful and len(samples) > 1 else samples


def _shown_in_time(samples: list[Sample], tick_s: float) -> list[Sample]:
    """Single pictures due hours after they are decoded are shown after the usual delay instead."""
    dts = np.array([sample.pts if sample.dts is None else sample.dts for sample in samples])
    pts = np.array([sample.pts for sample in samples])
    wrong = absurd(dts * tick_s, pts * tick_s, _ABSURD_STEPS * float(np.median(np.diff(dts))) * tick_s)
    usual = int(np.median(pts - dts))
    return [
        sample._replace(pts=at + usual, end=at + usual + sample.end - sample.pts) if off else sample
        for sample, at, off in zip(samples, dts.tolist(), wrong.tolist(), strict=True)
    ]


def first_shown(samples: Iterable[Sample]) -> tuple[int, int] | None:
    """Ticks of the first keyframe and of the first picture shown: at or after it, not cut by an edit list."""
    key: int | None = None
    first: int | None = None
    for sample in samples:
        if key is None and sample.keyframe:
            key = sample.pts
        if first is not None and sample.dts is not None and sample.dts > first:
            break
        if key is not None and sample.shown and sample.pts >= key:
            first = sample.pts if first is None else min(first, sample.pts)
    return None if key is None or first is None else (key, first)

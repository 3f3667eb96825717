"""A video's packets: when each picture is shown. Nothing is decoded."""

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

from rayreel.deadline import Deadline
from rayreel.media.clock import ABSURD_S, absurd

log = logging.getLogger(__name__)

# PermissionError is -1, which demuxers return when they cannot seek; OverflowError comes from a damaged index.
UNREADABLE_FROM_HERE = (av.error.InvalidDataError, av.error.PermissionError, OverflowError)
# The clock of these may wrap or jump, and then no timestamp leads to the first packet.
_REWOUND_BY_BYTES = ("mpegts", "mpeg", "flv", "matroska,webm")


@dataclass(frozen=True, slots=True)
class Film:
    """An open file, its main video stream and the deadline for it.

    `has_pts`: whether packets have display times. AVI has decode times only, and FFmpeg's guesses are wrong where
    pictures are reordered. `head`: the first bytes of the file, if known.
    """

    container: InputContainer
    stream: VideoStream
    deadline: Deadline
    has_pts: bool
    head: bytes = b""

    @property
    def tick_s(self) -> float:
        """The length of one tick of the stream's clock, seconds."""
        return float(self.stream.time_base or 1 / av.time_base)

    @property
    def is_matroska(self) -> bool:
        """Whether the container is Matroska or WebM, whose index has keyframes only."""
        return "matroska" in self.container.format.name

    @property
    def is_mov(self) -> bool:
        """Whether the container is in the MP4 family, which has edit lists."""
        return "mov" in self.container.format.name


def film_in(container: InputContainer, stream: VideoStream, deadline: Deadline, head: bytes = b"") -> Film:
    """Return the film of a file from which nothing is decoded yet; `head` is the beginning of the file."""
    has_pts = container.format.name != "avi" or not stream.codec_context.has_b_frames
    return Film(container, stream, deadline, has_pts, head)


class Sample(NamedTuple):
    """One packet: its picture is shown from `pts` to `end` and decoded at `dts`, in ticks of the stream's clock.

    `shown` is false for pictures that are decoded only for others. `size` is in bytes: a large packet shows much that
    is new.
    """

    pts: int
    end: int
    dts: int | None
    keyframe: bool
    shown: bool
    size: int = 0


def rewind(container: InputContainer) -> None:
    """Go to the first packet."""
    by_bytes = container.format.name in _REWOUND_BY_BYTES
    if not by_bytes or container.format.name == "matroska,webm":  # in Matroska it clears the end-of-file state
        container.seek(0)
    if by_bytes:
        container.seek(0, unsupported_byte_offset=True)


def demux(film: Film, *streams: Stream) -> Iterator["Packet[Any]"]:
    """Yield the packets of these streams from the current position, in file order. Raises if reading fails."""
    for packet in film.container.demux(*streams):
        film.deadline.check()
        if packet.dts is not None or packet.pts is not None:
            yield packet


def go_to(film: Film, start: int | None) -> None:
    """Go to the keyframe at `start`, or to the first packet if None."""
    if start is None:
        rewind(film.container)
    else:
        film.container.seek(start, stream=film.stream)


def read_packets(film: Film, start: int | None) -> Iterator["Packet[VideoStream]"]:
    """Yield video packets in decode order from the keyframe at `start`, or all; stops if reading fails."""
    try:
        go_to(film, start)
        yield from demux(film, film.stream)
    except UNREADABLE_FROM_HERE as error:
        log.debug("reading ends early", extra={"file": film.container.name, "error": str(error)})


def to_sample(packet: "Packet[VideoStream]", has_pts: bool) -> Sample:
    """Return the packet's times. Without a display time its decode time is used: sorted, the two are the same."""
    known = packet.pts if has_pts else packet.dts
    pts = known if known is not None else packet.dts if packet.pts is None else packet.pts
    assert pts is not None
    end = pts + (packet.duration or 0)
    return Sample(pts, end, packet.dts, packet.is_keyframe, not packet.is_discard, packet.size)


def survey(film: Film, start: int | None, until: float | None = None) -> list[Sample]:
    """Read the packets from the keyframe at `start` up to all pictures shown by tick `until`, without decoding."""
    samples: list[Sample] = []
    doubtful, limit = False, ABSURD_S / film.tick_s
    for packet in read_packets(film, start):
        samples.append(sample := to_sample(packet, film.has_pts))
        doubtful = doubtful or (sample.dts is not None and abs(sample.pts - sample.dts) > limit)
        # No picture is shown before it is decoded.
        if until is not None and packet.dts is not None and packet.dts > until:
            break
    return _shown_in_time(samples, film.tick_s) if doubtful and len(samples) > 1 else samples


def _shown_in_time(samples: list[Sample], tick_s: float) -> list[Sample]:
    """Replace display times hours after decoding by the usual delay."""
    dts = np.array([sample.pts if sample.dts is None else sample.dts for sample in samples])
    pts = np.array([sample.pts for sample in samples])
    wrong = absurd(dts * tick_s, pts * tick_s, float(np.median(np.diff(dts))) * tick_s)
    usual = int(np.median(pts - dts))
    return [
        sample._replace(pts=at + usual, end=at + usual + sample.end - sample.pts) if off else sample
        for sample, at, off in zip(samples, dts.tolist(), wrong.tolist(), strict=True)
    ]


def first_shown(samples: Iterable[Sample]) -> tuple[int, int] | None:
    """Return the ticks of the first keyframe and of the first shown picture from there that no edit list hides."""
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

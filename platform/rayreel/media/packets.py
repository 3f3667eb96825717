"""A video's packets without their pictures: what is shown when."""

import logging
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import NamedTuple

import av
from av.container import InputContainer
from av.packet import Packet
from av.video.stream import VideoStream

from rayreel.media.open import Deadline
from rayreel.media.streams import pick_video

log = logging.getLogger(__name__)

# The second is -1, what demuxers answer when they cannot seek; the third is for a damaged index's absurd times.
UNREADABLE_FROM_HERE = (av.error.InvalidDataError, av.error.PermissionError, OverflowError)


@dataclass(frozen=True, slots=True)
class Film:
    """An open file, its video stream and the time left for it.

    `told_pts`: whether packets say when they are shown. AVI holds decode times alone, and FFmpeg guesses the rest wrong
    where pictures change order.
    """

    container: InputContainer
    stream: VideoStream
    deadline: Deadline
    told_pts: bool

    @property
    def tick_s(self) -> float:
        """Length of one unit of the stream's clock, seconds."""
        return float(self.stream.time_base or 1 / av.time_base)


def film_in(container: InputContainer, deadline: Deadline) -> Film:
    """The film of a file just opened, which has one."""
    stream = pick_video(container)
    assert stream is not None
    told_pts = container.format.name != "avi" or not stream.codec_context.has_b_frames
    return Film(container, stream, deadline, told_pts)


class Sample(NamedTuple):
    """One packet: when its picture is shown, until when, from when it is decoded; in ticks of the stream's clock."""

    pts: int
    end: int
    dts: int | None
    keyframe: bool
    shown: bool


def read_packets(film: Film, start: int | None) -> Iterator["Packet[VideoStream]"]:
    """Video packets in decode order from the keyframe at `start` on, or all of them; ends early where reading fails."""
    try:
        film.container.seek(start or 0, stream=None if start is None else film.stream)
        for packet in film.container.demux(film.stream):
            film.deadline.check()
            if packet.dts is not None or packet.pts is not None:
                yield packet
    except UNREADABLE_FROM_HERE as error:
        log.debug("reading ends early", extra={"file": film.container.name, "error": str(error)})


def to_sample(packet: "Packet[VideoStream]", told_pts: bool) -> Sample:
    """Decode times stand in where nothing says when a packet is shown: in order, they are the display times."""
    known = packet.pts if told_pts else packet.dts
    pts = known if known is not None else packet.dts if packet.pts is None else packet.pts
    assert pts is not None
    return Sample(pts, pts + (packet.duration or 0), packet.dts, packet.is_keyframe, not packet.is_discard)


def survey(film: Film, start: int | None, until: float | None = None) -> list[Sample]:
    """Packets from the keyframe at `start` until every picture shown up to tick `until` is among them; no decoding."""
    samples: list[Sample] = []
    for packet in read_packets(film, start):
        samples.append(to_sample(packet, film.told_pts))
        # Nothing is shown before it is decoded.
        if until is not None and packet.dts is not None and packet.dts > until:
            break
    return samples


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

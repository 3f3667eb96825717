"""Which way up a picture is shown: by the display matrix of its file, its frames or its bitstream."""

import math
import struct
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
from av.sidedata.sidedata import Type
from av.video.frame import VideoFrame
from numpy.typing import NDArray

from rayreel.media.packets import Film, read_packets
from rayreel.media.sidedata import attached

_FLAT = 0.1  # a matrix whose axes nearly coincide, or with an axis of length 0, says nothing
_FIRST_PACKETS = 300  # recordings that begin between keyframes have one within seconds
_SEI_NAL = {"h264": 6, "hevc": 39}
_SLICE_NALS = {"h264": range(1, 6), "hevc": range(32)}
_DISPLAY_ORIENTATION = 47  # payload type, H.264 D.1 and H.265 D.2


class Turn(NamedTuple):
    """Rows and columns swapped or not, then each kept (1) or reversed (-1): the 8 ways to put up a rectangle."""

    swapped: bool = False
    rows: int = 1
    columns: int = 1

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The picture [height, width, 3] as it is shown; a view."""
        return (picture.swapaxes(0, 1) if self.swapped else picture)[:: self.rows, :: self.columns]


UPRIGHT = Turn()
_TURNS = [Turn(swapped, rows, columns) for swapped in (False, True) for rows in (1, -1) for columns in (1, -1)]


def turn_by(matrix: Sequence[float]) -> Turn:
    """The turn nearest to a display matrix: a multiple of 90°, mirrored or not; none where the matrix is degenerate.

    The matrix is FFmpeg's and QuickTime's, 9 numbers of any scale: (x, y) is shown at (ax + cy, bx + dy), where
    a, b, c, d are its elements 0, 1, 3, 4.
    """
    a, b, c, d = (float(matrix[place]) for place in (0, 1, 3, 4))
    x, y = math.hypot(a, b), math.hypot(c, d)
    if not abs(a * d - b * c) > _FLAT * x * y:
        return UPRIGHT
    # How much of each axis as shown comes from the stored ones: as they are, and swapped.
    shares = ((a / x, d / y), (c / y, b / x))
    return max(_TURNS, key=lambda turn: turn.columns * shares[turn.swapped][0] + turn.rows * shares[turn.swapped][1])


def turn_of(frame: VideoFrame) -> Turn | None:
    """The turn that a frame's own display matrix asks for, which decoders also copy from the file; None without one."""
    matrix = attached(frame, Type.DISPLAYMATRIX)
    return None if matrix is None else turn_by(struct.unpack("9i", matrix))


def announced_turn(film: Film) -> Turn:
    """The turn for frames that have no matrix: what the bitstream says at its first keyframe.

    H.264 and HEVC hold it in an SEI message beside that keyframe (display orientation). FFmpeg attaches it to this one
    frame, though it is valid until the next; and some writers repeat it at no later keyframe.
    """
    codec = film.stream.codec_context.name
    if codec not in _SEI_NAL:
        return UPRIGHT
    for packet in islice(read_packets(film, None), _FIRST_PACKETS):
        if packet.is_keyframe:
            messages = (message for message in _messages(bytes(packet), codec, film.stream.codec_context.extradata))
            return next((_turn_in(payload) for kind, payload in messages if kind == _DISPLAY_ORIENTATION), UPRIGHT)
    return UPRIGHT


def _turn_in(payload: bytes) -> Turn:
    """From a display orientation message: cancel, mirror, flip (a bit each), then anticlockwise, 16 bits of a turn."""
    bits = int.from_bytes(payload[:3].ljust(3, b"\0"), "big")
    cancel, mirrored, flipped, angle = bits >> 23, bits >> 22 & 1, bits >> 21 & 1, bits >> 5 & 0xFFFF
    if cancel:
        return UPRIGHT
    across, down = 1 - 2 * mirrored, 1 - 2 * flipped
    radians = angle * math.tau / (1 << 16)
    cosine, sine = math.cos(radians), math.sin(radians)
    # Mirrored first, then turned.
    return turn_by((across * cosine, -across * sine, 0, down * sine, down * cosine, 0, 0, 0, 1))


def _messages(packet: bytes, codec: str, extradata: bytes | None) -> Iterator[tuple[int, bytes]]:
    """SEI messages (kind, payload) before the first slice of an access unit."""
    header = 1 if codec == "h264" else 2
    for unit in _units(packet, extradata, codec):
        kind = unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F
        if kind in _SLICE_NALS[codec]:
            return
        if kind == _SEI_NAL[codec]:
            yield from _split(unit[header:].replace(b"\0\0\x03", b"\0\0"))


def _units(packet: bytes, extradata: bytes | None, codec: str) -> Iterator[bytes]:
    """NAL units: with start codes (MPEG-TS), or each after its length (MP4, Matroska)."""
    if not extradata or extradata[0] != 1:
        for unit in packet.split(b"\0\0\1")[1:]:
            if unit:
                yield unit
        return
    size = (extradata[4 if codec == "h264" else 21] & 3) + 1
    at = 0
    while at + size < len(packet):
        end = at + size + int.from_bytes(packet[at : at + size], "big")
        if end > at + size:
            yield packet[at + size : end]
        at = end


def _split(unit: bytes) -> Iterator[tuple[int, bytes]]:
    """Kind and size of a message are sums of bytes up to the first that is not 255."""
    at = 0
    while at + 2 < len(unit):
        numbers = []
        for _ in range(2):
            number = 0
            while at < len(unit) and unit[at] == 0xFF:
                number, at = number + 255, at + 1
            numbers.append(number + (unit[at] if at < len(unit) else 0))
            at += 1
        kind, size = numbers
        yield kind, unit[at : at + size]
        at += size

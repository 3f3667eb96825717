"""The orientation of a picture, from the display matrix of its frame or from the bitstream."""

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

_FLAT = 0.1  # a matrix whose axes nearly coincide, or with an axis of length 0, is degenerate
_FIRST_PACKETS = 300  # a recording that starts between keyframes has one within seconds
_SEI_NAL = {"h264": 6, "hevc": 39}
_SLICE_NALS = {"h264": range(1, 6), "hevc": range(32)}
_DISPLAY_ORIENTATION = 47  # payload type, H.264 D.1 and H.265 D.2


class Turn(NamedTuple):
    """Swaps rows and columns or not, then keeps (1) or reverses (-1) each: the 8 orientations of a rectangle."""

    swapped: bool = False
    rows: int = 1
    columns: int = 1

    def of(self, picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the picture [height, width, 3] as it is shown; a view."""
        return (picture.swapaxes(0, 1) if self.swapped else picture)[:: self.rows, :: self.columns]


UPRIGHT = Turn()
_TURNS = [Turn(swapped, rows, columns) for swapped in (False, True) for rows in (1, -1) for columns in (1, -1)]


def turn_by(matrix: Sequence[float]) -> Turn:
    """Return the turn nearest to a display matrix: a multiple of 90°, mirrored or not. UPRIGHT if it is degenerate.

    The matrix is that of FFmpeg and QuickTime, 9 numbers of any scale: (x, y) is shown at (ax + cy, bx + dy), where
    a, b, c, d are its elements 0, 1, 3, 4.
    """
    a, b, c, d = (float(matrix[place]) for place in (0, 1, 3, 4))
    x, y = math.hypot(a, b), math.hypot(c, d)
    if not abs(a * d - b * c) > _FLAT * x * y:
        return UPRIGHT
    # The share of each displayed axis in the stored axes: not swapped, and swapped.
    shares = ((a / x, d / y), (c / y, b / x))
    return max(_TURNS, key=lambda turn: turn.columns * shares[turn.swapped][0] + turn.rows * shares[turn.swapped][1])


def turn_of(frame: VideoFrame) -> Turn | None:
    """Return the turn by the frame's display matrix, which decoders also copy from the container; None without one."""
    matrix = attached(frame, Type.DISPLAYMATRIX)
    return None if matrix is None else turn_by(struct.unpack("9i", matrix))


def announced_turn(film: Film) -> Turn:
    """Return the turn for frames without a display matrix, from the bitstream at the first keyframe.

    H.264 and HEVC have it in an SEI message with that keyframe (display orientation). FFmpeg attaches it to that frame
    only, although it is valid until the next message, and some encoders do not repeat it at later keyframes.
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
    """Parse a display orientation message: cancel, mirror, flip (1 bit each), 16 bits of an anticlockwise turn."""
    bits = int.from_bytes(payload[:3].ljust(3, b"\0"), "big")
    cancel, mirrored, flipped, angle = bits >> 23, bits >> 22 & 1, bits >> 21 & 1, bits >> 5 & 0xFFFF
    if cancel:
        return UPRIGHT
    across, down = 1 - 2 * mirrored, 1 - 2 * flipped
    radians = angle * math.tau / (1 << 16)
    cosine, sine = math.cos(radians), math.sin(radians)
    # Mirror first, then turn.
    return turn_by((across * cosine, -across * sine, 0, down * sine, down * cosine, 0, 0, 0, 1))


def _messages(packet: bytes, codec: str, extradata: bytes | None) -> Iterator[tuple[int, bytes]]:
    """Yield the SEI messages (type, payload) before the first slice of an access unit."""
    header = 1 if codec == "h264" else 2
    for unit in _units(packet, extradata, codec):
        kind = unit[0] & 0x1F if codec == "h264" else unit[0] >> 1 & 0x3F
        if kind in _SLICE_NALS[codec]:
            return
        if kind == _SEI_NAL[codec]:
            yield from _split(unit[header:].replace(b"\0\0\x03", b"\0\0"))


def _units(packet: bytes, extradata: bytes | None, codec: str) -> Iterator[bytes]:
    """Yield NAL units, separated by start codes (MPEG-TS) or each prefixed with its length (MP4, Matroska)."""
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
    """Yield type and payload of each message. Type and size are each the sum of bytes up to the first below 255."""
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

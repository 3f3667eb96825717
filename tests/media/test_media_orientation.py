"""Orientation of pictures by matrix and by bitstream."""

import itertools
import math
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from numpy.typing import NDArray

from numbered import colour_error, read_number, take, write_numbered
from rayreel.media.orientation import UPRIGHT, Turn, turn_by

Turned = Callable[[NDArray[np.float64]], NDArray[np.float64]]
ONE = 1 << 16
CLOCKWISE, HALF, ANTICLOCKWISE = Turn(True, 1, -1), Turn(False, -1, -1), Turn(True, -1, 1)
MIRRORED, FLIPPED = Turn(False, 1, -1), Turn(False, -1, 1)
TRANSPOSED, TRANSVERSED = Turn(True), Turn(True, -1, -1)


def matrix(a: float, b: float, c: float, d: float) -> list[int]:
    return [round(part) for part in (a, b, 0, c, d, 0, 0, 0, 1 << 30)]


def turned(degrees: float, *, mirrored: bool = False) -> list[int]:
    """Return the matrix of an optional mirroring and a clockwise turn."""
    sine, cosine = ONE * math.sin(math.radians(degrees)), ONE * math.cos(math.radians(degrees))
    across = -1 if mirrored else 1
    return matrix(across * cosine, across * sine, -sine, cosine)


@pytest.mark.parametrize("off", [0, 0.003, 1, 7, 44, -0.003, -1, -7, -44])
@pytest.mark.parametrize(
    ("degrees", "turn"), [(0, UPRIGHT), (90, CLOCKWISE), (180, HALF), (270, ANTICLOCKWISE), (-90, ANTICLOCKWISE)]
)
def test_the_nearest_quarter_of_a_turn_is_taken(degrees: float, turn: Turn, off: float) -> None:
    assert turn_by(turned(degrees + off)) == turn


@pytest.mark.parametrize("off", [0, 0.003, -0.003, 5, -5])
@pytest.mark.parametrize(("degrees", "turn"), [(0, MIRRORED), (180, FLIPPED), (90, TRANSVERSED), (-90, TRANSPOSED)])
def test_a_mirrored_picture_is_mirrored_before_it_is_turned(degrees: float, turn: Turn, off: float) -> None:
    assert turn_by(turned(degrees + off, mirrored=True)) == turn


@pytest.mark.parametrize("units", [1, 3, -3, 200, -200])
def test_rounding_of_a_matrix_changes_nothing(units: int) -> None:
    assert turn_by(matrix(units, ONE, -ONE, units)) == CLOCKWISE
    assert turn_by(matrix(units, -ONE, ONE, units)) == ANTICLOCKWISE
    assert turn_by(matrix(-ONE, units, units, -ONE)) == HALF


@pytest.mark.parametrize("scale", [(2, 1), (1, 3), (0.01, 0.01), (1000, 1000)])
def test_the_scale_of_a_matrix_is_irrelevant(scale: tuple[float, float]) -> None:
    x, y = scale
    assert turn_by(matrix(0, ONE * x, -ONE * y, 0)) == CLOCKWISE


@pytest.mark.parametrize(
    "parts", [(0, 0, 0, 0), (ONE, 0, 0, 0), (0, 0, 0, -ONE), (-ONE, 0, -ONE, 0), (-ONE, -ONE, -ONE, -ONE)]
)
def test_a_degenerate_matrix_turns_nothing(parts: tuple[int, int, int, int]) -> None:
    assert turn_by(matrix(*parts)) == UPRIGHT


@pytest.mark.parametrize("parts", [(0, 0, 0, 0), (ONE, 1144, -1144, ONE), (-3, -ONE, ONE, 3), (3, -ONE, ONE, -3)])
@pytest.mark.parametrize("mode", ["exact", "auto"])
def test_a_film_with_an_odd_matrix_is_shown_as_players_show_it(
    tmp_path: Path, parts: tuple[int, int, int, int], mode: str
) -> None:
    stored = (lambda picture: np.rot90(picture, -1)) if abs(parts[1]) == ONE else (lambda picture: picture)
    path = write_numbered(tmp_path / "film.mp4", frames=12, turn=stored, display_matrix=matrix(*parts))
    assert_upright(path, mode)


def test_without_a_matrix_nothing_is_turned(tmp_path: Path) -> None:
    assert_upright(write_numbered(tmp_path / "film.mp4", frames=12), "exact")


# Display orientation messages: kind 47, 3 bytes: bits for cancel, mirror and flip, 16 bits of an anticlockwise turn,
# and for how long it is valid. Another message of 17 bytes comes before it in the same unit.
OTHER = bytes([5, 17, *range(16, 33)])
CODECS = {
    "libx264": (b"\x06", 0x1F, 0, range(1, 6), {"x264-params": "scenecut=0"}),
    "libx265": (b"\x4e\x01", 0x7E, 1, range(32), {"x265-params": "log-level=none:scenecut=0"}),
}
STORED: dict[tuple[int, int, int], Turned] = {
    (0, 0, 1): lambda picture: np.rot90(picture, -1),
    (1, 0, 0): lambda picture: picture[:, ::-1],
    (1, 0, 3): lambda picture: np.rot90(picture)[:, ::-1],
}


@pytest.mark.parametrize("every", [True, False], ids=["every_keyframe", "first_keyframe"])
@pytest.mark.parametrize("mode", ["exact", "keyframe"])
@pytest.mark.parametrize(
    ("name", "codec"),
    [("film.mp4", "libx264"), ("film.ts", "libx264"), ("film.mkv", "libx265"), ("film.ts", "libx265")],
)
@pytest.mark.parametrize("said", STORED, ids=["anticlockwise", "mirrored", "mirrored_clockwise"])
def test_an_orientation_in_the_bitstream_applies_to_all_frames(
    tmp_path: Path, said: tuple[int, int, int], name: str, codec: str, mode: str, every: bool
) -> None:
    packets = itertools.count()

    def with_sei(packet: bytes) -> bytes:
        place = next(packets)
        return before_slices(packet, said, codec) if place % 8 == 0 and (every or place == 0) else packet

    options = {"crf": "8", "preset": "ultrafast", **CODECS[codec][-1]}
    path = tmp_path / name
    write_numbered(path, codec, frames=24, keyframe_every=8, options=options, turn=STORED[said], packet_of=with_sei)
    assert_upright(path, mode)


def before_slices(packet: bytes, said: tuple[int, int, int], codec: str) -> bytes:
    """Insert the message into an access unit."""
    header, mask, shift, slices, _ = CODECS[codec]
    mirrored, flipped, quarters = said
    bits = f"0{mirrored}{flipped}{quarters * 0x4000:016b}01000"
    unit = b"\0\0\1" + header + OTHER + bytes([47, 3]) + int(bits, 2).to_bytes(3, "big") + b"\x80"
    starts = (found.start() for found in re.finditer(b"\0\0\1", packet))
    at = next(start for start in starts if (packet[start + 3] & mask) >> shift in slices)
    return packet[:at] + unit + packet[at:]


def assert_upright(path: Path, mode: str) -> None:
    squares = take(path, mode=mode, frames=4).frames
    numbers = [read_number(square) for square in squares]
    assert numbers == sorted(set(numbers)) and max(map(colour_error, squares)) < 10

"""Colours for any matrix, range, depth, gamut and transparency."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from hdr_signals import hlg, pq, shown
from numbered import FULL, LIMITED, UNSAID, colour_error, read_number, take, write_numbered, yuv_frame
from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file

CLOSE = 8  # levels of 255; a wrong matrix is off by 20 and more, a wrong range by 15


def error_of(path: Path) -> float:
    squares = take(path, mode="exact", frames=2).frames
    assert [read_number(square) for square in squares] == [1, 4]
    return max(map(colour_error, squares))


def write(path: Path, codec: str = "libx264", **options: Any) -> Path:  # noqa: ANN401
    return write_numbered(path, codec, frames=6, **options)


@pytest.mark.parametrize("range_", [LIMITED, FULL])
@pytest.mark.parametrize("matrix", [1, 5, 6, 7, 9])
def test_the_matrix_and_range_of_the_file_are_used(tmp_path: Path, matrix: int, range_: int) -> None:
    path = write(tmp_path / "film.mp4", matrix=matrix, range_=range_, said=(matrix, 1, 1))
    assert error_of(path) < CLOSE


@pytest.mark.parametrize(
    ("codec", "form", "name", "range_"),
    [
        ("libx264", "yuvj420p", "film.mp4", FULL),
        ("libx264", "yuv444p", "film.mp4", LIMITED),
        ("libx264", "yuvj444p", "film.mkv", FULL),
        ("libx264", "yuv422p10le", "film.mp4", LIMITED),
        ("libx264", "yuv420p10le", "film.mkv", FULL),
        ("libx265", "yuv420p10le", "film.mp4", LIMITED),
        ("libx265", "yuv444p12le", "film.mkv", LIMITED),
        ("libsvtav1", "yuv420p10le", "film.mp4", LIMITED),
        ("libvpx-vp9", "yuv444p", "film.webm", LIMITED),
        ("prores_ks", "yuv422p10le", "film.mov", LIMITED),
        ("mjpeg", "yuvj422p", "film.avi", FULL),
    ],
)
def test_every_depth_and_subsampling_gives_the_same_colours(
    tmp_path: Path, codec: str, form: str, name: str, range_: int
) -> None:
    if codec not in av.codecs_available:
        pytest.skip(f"this build of PyAV has no {codec}")
    matrix = 5 if codec == "mjpeg" else 1  # JPEG has only one
    options: dict[str, str] | None = {} if codec in ("mjpeg", "prores_ks") else None
    assert error_of(write(tmp_path / name, codec, form=form, matrix=matrix, range_=range_, options=options)) < CLOSE


@pytest.mark.parametrize(("codec", "form"), [("libx264rgb", "rgb24"), ("qtrle", "rgb24"), ("ffv1", "bgr0")])
def test_rgb_is_unchanged(tmp_path: Path, codec: str, form: str) -> None:
    def frame(picture: NDArray[np.float64]) -> av.VideoFrame:
        return av.VideoFrame.from_ndarray(np.round(picture).astype(np.uint8), format="rgb24").reformat(format=form)

    name = "film.mov" if codec == "qtrle" else "film.mkv"
    assert error_of(write(tmp_path / name, codec, form=form, frame_of=frame, said=(0, 13, 1), range_=FULL)) < CLOSE


@pytest.mark.parametrize(
    ("side", "matrix", "said"),
    [
        (128, 6, (UNSAID, UNSAID, UNSAID)),
        (640, 1, (UNSAID, UNSAID, UNSAID)),
        (128, 1, (UNSAID, 1, 1)),
        (640, 6, (UNSAID, 6, 6)),
        (128, 6, (3, 2, 2)),  # reserved
    ],
    ids=["sd", "hd", "primaries_709", "primaries_601", "reserved"],
)
def test_an_unspecified_matrix_is_guessed_like_in_players(
    tmp_path: Path, side: int, matrix: int, said: tuple[int, int, int]
) -> None:
    path = write(tmp_path / "film.mkv", side=side, matrix=matrix, said=said, frame_of=lambda p: yuv_frame(p, matrix))
    assert error_of(path) < CLOSE


@pytest.mark.parametrize("matrix", [8, 14], ids=["ycgco", "ictcp"])
def test_colours_that_cannot_be_converted_are_refused(tmp_path: Path, matrix: int) -> None:
    path = write(tmp_path / "film.mkv", said=(matrix, 1, 1), frame_of=yuv_frame)
    refused = decode_file(path, SamplingConfig(), 64, Limits())
    assert isinstance(refused, Rejected)
    assert refused.reason is Reason.UNSUPPORTED_CODEC and "film.mkv" in refused.detail and "convert" in refused.detail


@pytest.mark.parametrize("mode", ["exact", "auto"])
@pytest.mark.parametrize("codec", ["libx265", "libsvtav1"])
@pytest.mark.parametrize(("transfer", "signal"), [(16, pq), (18, hlg)], ids=["pq", "hlg"])
def test_high_dynamic_range_is_mapped_to_the_look_of_standard_range(
    tmp_path: Path, transfer: int, signal: Callable[[NDArray[np.float64]], NDArray[np.uint16]], codec: str, mode: str
) -> None:
    def frame(picture: NDArray[np.float64]) -> av.VideoFrame:
        return yuv_frame(signal(shown(picture)) / 65535 * 255, matrix=9, form="yuv420p10le")

    path = write(tmp_path / "film.mp4", codec, form="yuv420p10le", said=(9, transfer, 9), frame_of=frame)
    squares = take(path, mode=mode, frames=2).frames
    assert all(read_number(square) < 6 for square in squares)
    assert max(map(colour_error, squares)) < 12


# Alpha: what is stored, and what is shown.
def with_alpha(picture: NDArray[np.float64], alpha: NDArray[np.float64]) -> NDArray[np.uint8]:
    return np.round(np.concatenate([picture, alpha[..., None]], axis=-1)).astype(np.uint8)


@pytest.mark.parametrize(
    ("codec", "form", "name"),
    [("qtrle", "argb", "film.mov"), ("prores_ks", "yuva444p10le", "film.mov"), ("ffv1", "bgra", "film.mkv")],
)
def test_transparent_parts_are_black(tmp_path: Path, codec: str, form: str, name: str) -> None:
    def frame(picture: NDArray[np.float64]) -> av.VideoFrame:
        alpha = np.full(picture.shape[:2], 255.0)
        alpha[96:, 64:] = 0  # the last two patches
        loud = picture.copy()
        loud[96:, 64:] = (255, 0, 255)
        rgba = av.VideoFrame.from_ndarray(with_alpha(loud, alpha), format="rgba")
        return rgba.reformat(format=form, dst_colorspace="itu709", dst_color_range=LIMITED)

    said = (1, 1, 1) if form.startswith("yuv") else (0, 13, 1)
    path = write(tmp_path / name, codec, form=form, frame_of=frame, said=said, options={})
    squares = take(path, mode="exact", frames=2).frames
    assert [read_number(square) for square in squares] == [1, 4]
    for square in squares:
        assert square[50:, 34:].max() < 12 and square[50:, 4:28].mean() > 100


def test_a_fully_transparent_film_is_shown_without_alpha(tmp_path: Path) -> None:
    def frame(picture: NDArray[np.float64]) -> av.VideoFrame:
        empty = np.zeros(picture.shape[:2])
        return av.VideoFrame.from_ndarray(with_alpha(picture, empty), format="rgba").reformat(format="argb")

    path = write(tmp_path / "film.mov", "qtrle", form="argb", frame_of=frame, said=(0, 13, 1), options={})
    assert error_of(path) < CLOSE


class Bits:
    """Writes fields of a bitstream."""

    def __init__(self) -> None:
        self.text = ""

    def u(self, *fields: tuple[int, int]) -> None:
        """Write values with their widths."""
        self.text += "".join(f"{value:0{width}b}" for value, width in fields)

    def ue(self, *values: int) -> None:
        """Write exponential Golomb codes."""
        for value in values:
            code = f"{value + 1:b}"
            self.text += "0" * (len(code) - 1) + code

    def done(self) -> bytes:
        text = self.text + "0" * (-len(self.text) % 8)
        return int(text, 2).to_bytes(len(text) // 8, "big")


def reference_processing_unit(profile: int, full_range: int) -> bytes:
    """Return Dolby Vision metadata of one picture with an identity mapping (ETSI GS CCM 001), a NAL unit of type 62."""
    bits = Bits()
    bits.u((25, 8), (2, 6), (18, 11), (profile, 4), (0, 4), (1, 1), (0, 1), (0, 2))
    bits.ue(23)  # bits of a fraction
    bits.u((1, 2), (full_range, 1))
    bits.ue(2, 2, 4)  # depths of 10, 10 and 12 bits
    bits.u((0, 1), (0, 3), (0, 1), (1, 1), (0, 1), (0, 1))
    bits.ue(0, 0, 0)
    for _ in range(3):
        bits.ue(0)
        bits.u((0, 10), (1023, 10))
    bits.ue(0, 0)
    for _ in range(3):  # one polynomial: 0 + 1 x
        bits.ue(0, 0)
        bits.u((0, 1))
        bits.ue(0)
        bits.u((0, 23))
        bits.ue(1)  # 1 as a signed code
        bits.u((0, 23))
    return b"\x7c\x01" + bits.done() + bytes(4) + b"\x80"


@pytest.mark.parametrize(("profile", "full_range", "refused"), [(0, 1, True), (1, 0, False)])
def test_dolby_vision_without_a_compatible_base_layer_is_refused(
    tmp_path: Path, profile: int, full_range: int, refused: bool
) -> None:
    unit = escape(reference_processing_unit(profile, full_range))
    path = write(
        tmp_path / "film.mkv",
        "libx265",
        form="yuv420p10le",
        said=(UNSAID, UNSAID, UNSAID),
        frame_of=lambda picture: yuv_frame(picture, 6, form="yuv420p10le"),
        packet_of=lambda packet: packet + b"\0\0\0\1" + unit,
    )
    taken = decode_file(path, SamplingConfig(), 64, Limits())
    assert isinstance(taken, Rejected) == refused
    if isinstance(taken, Rejected):
        assert taken.reason is Reason.UNSUPPORTED_CODEC and "Dolby Vision" in taken.detail


def escape(payload: bytes) -> bytes:
    """Insert emulation prevention bytes, so that no three bytes are a start code."""
    out = bytearray()
    for byte in payload:
        if byte <= 3 and out[-2:] == b"\0\0":
            out.append(3)
        out.append(byte)
    return bytes(out)

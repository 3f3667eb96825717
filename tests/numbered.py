"""Synthetic films whose frames encode their number, reference colours and orientation.

Drawn and converted to YUV with NumPy, so that errors of the scaler or its use cannot cancel out.
"""

from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file

SIDE = 128
FPS = 25
BITS = 8
# Distinguishable after rotating, mirroring or swapping red and blue.
PATCHES = np.array(
    [
        [(200, 30, 30), (30, 160, 40), (40, 60, 200), (210, 190, 40)],
        [(40, 170, 170), (235, 235, 235), (128, 128, 128), (170, 50, 160)],
    ],
    dtype=np.float64,
)
# The weights of red and blue in luma by matrix number in ITU-T H.273, and the numbers of other properties.
WEIGHTS = {1: (0.2126, 0.0722), 5: (0.299, 0.114), 6: (0.299, 0.114), 7: (0.212, 0.087), 9: (0.2627, 0.0593)}
UNSAID = 2
LIMITED, FULL = 1, 2


def numbered_picture(number: int, side: int = SIDE) -> NDArray[np.float64]:
    """Return RGB [side, side, 3], 0 to 255: the number in bits, its inverse below, then eight colour patches."""
    bits = np.array([number >> bit & 1 for bit in reversed(range(BITS))])
    rows = np.stack([bits, 1 - bits])[..., None] * 200.0 + 25 + np.zeros(3)
    cells = np.concatenate([rows, PATCHES.repeat(2, axis=1)])
    return cells.repeat(side // 4, axis=0).repeat(side // BITS, axis=1)


def read_number(square: NDArray[np.uint8]) -> int:
    """Return the number of a picture; AssertionError if it is not a numbered picture or not upright."""
    cells = _cells(square).mean(axis=-1) > 125
    assert (cells[0] != cells[1]).all(), "not a numbered picture, or not upright"
    return int("".join(str(int(bit)) for bit in cells[0]), 2)


def colour_error(square: NDArray[np.uint8]) -> float:
    """Return the largest difference of a patch from its colour over R, G and B, in levels of 255."""
    return float(np.abs(_cells(square)[2:, :: BITS // 4] - PATCHES).max())


def yuv_frame(rgb: NDArray[np.float64], matrix: int = 1, range_: int = LIMITED, form: str = "yuv420p") -> av.VideoFrame:
    """Convert RGB from 0 to 255 to a YUV frame in pixel format `form`."""
    red, blue = WEIGHTS[matrix]
    r, g, b = np.moveaxis(rgb / 255, -1, 0)
    luma = red * r + (1 - red - blue) * g + blue * b
    chroma = np.stack([(b - luma) / (1 - blue) / 2, (r - luma) / (1 - red) / 2])
    y, c = (65535 * luma, 65535 * chroma + 32768) if range_ == FULL else (56064 * luma + 4096, 57344 * chroma + 32768)
    planes = np.round(np.stack([y, *c], axis=-1)).clip(0, 65535).astype(np.uint16)
    frame = av.VideoFrame.from_ndarray(planes, format="yuv444p16le")
    frame.colorspace, frame.color_range = matrix, range_
    return frame.reformat(format=form)


def write_numbered(
    path: Path,
    codec: str = "libx264",
    *,
    frames: int = 60,
    keyframe_every: int = 12,
    bframes: int = 0,
    options: dict[str, str] | None = None,
    turn: Callable[[NDArray[np.float64]], NDArray[np.float64]] = lambda picture: picture,
    display_matrix: Sequence[int] | None = None,
    form: str = "yuv420p",
    matrix: int = 1,
    range_: int = LIMITED,
    said: tuple[int, int, int] | None = None,
    pixel_aspect: tuple[int, int] = (1, 1),
    side: int = SIDE,
    frame_of: Callable[[NDArray[np.float64]], av.VideoFrame] | None = None,
    packet_of: Callable[[bytes], bytes] = lambda packet: packet,
    mux: dict[str, str] | None = None,
) -> Path:
    """Encode a numbered film. `turn` is applied to each picture, `packet_of` to each packet.

    said: numbers of matrix, transfer and primaries in the file; by default those of the pictures.
    frame_of: converts a picture to a frame, instead of `yuv_frame` with `matrix`, `range_` and `form`.
    """
    with av.open(path, "w", options=mux or {}) as out:
        video = out.add_stream(codec, rate=FPS, options=options or QUALITY.get(codec, {}))
        assert isinstance(video, av.VideoStream)
        video.pix_fmt, context = form, video.codec_context
        context.gop_size, context.max_b_frames, context.color_range = keyframe_every, bframes, range_
        context.colorspace, context.color_trc, context.color_primaries = said or (matrix, 1, 1)
        context.sample_aspect_ratio = Fraction(*pixel_aspect)
        if display_matrix is not None:
            video.set_display_matrix(display_matrix)
        make = frame_of or (lambda picture: yuv_frame(picture, matrix, range_, form))
        for number in range(frames):
            frame = make(turn(numbered_picture(number, side)))
            if not context.is_open:
                video.width, video.height = frame.width, frame.height
            _tag(frame, context)
            _mux(out, video, video.encode(frame), packet_of)
        _mux(out, video, video.encode(None), packet_of)
    return path


QUALITY = {
    "libx264": {"crf": "8", "preset": "veryfast", "x264-params": "scenecut=0"},
    "libx265": {"crf": "10", "preset": "ultrafast", "x265-params": "log-level=none:scenecut=0"},
    "libvpx-vp9": {"crf": "10", "b": "0", "deadline": "good", "cpu-used": "5", "lag-in-frames": "12"},
    "libsvtav1": {"crf": "12", "preset": "12"},
}


def take(path: Path, **sampling: object) -> Clip:
    """Decode a film at half its size; AssertionError if it is rejected."""
    taken = decode_file(path, SamplingConfig.model_validate({"frames": 8, **sampling}), SIDE // 2, Limits())
    assert isinstance(taken, Clip), taken
    return taken


def _cells(square: NDArray[np.uint8]) -> NDArray[np.float64]:
    """Mean colours of the centres of all cells, [4, 8, 3]."""
    high, wide = square.shape[0] // 4, square.shape[1] // BITS
    cells = square.astype(np.float64).reshape(4, high, BITS, wide, 3)
    means: NDArray[np.float64] = cells[:, high // 4 : -(high // 4), :, wide // 4 : -(wide // 4)].mean(axis=(1, 3))
    return means


def _tag(frame: av.VideoFrame, context: av.VideoCodecContext) -> None:
    frame.colorspace, frame.color_range = context.colorspace, context.color_range
    frame.color_trc, frame.color_primaries = context.color_trc, context.color_primaries


def _mux(
    out: av.container.OutputContainer,
    video: av.VideoStream,
    packets: Sequence["av.Packet[av.VideoStream]"],
    packet_of: Callable[[bytes], bytes],
) -> None:
    for packet in packets:
        copy = av.Packet(packet_of(bytes(packet)))
        copy.pts, copy.dts, copy.duration, copy.time_base = packet.pts, packet.dts, packet.duration, packet.time_base
        copy.is_keyframe, copy.stream = packet.is_keyframe, video
        out.mux(copy)

"""Synthetic films: each frame encodes its own number, so that tests can identify the decoded frames."""

from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

TICKS_PER_S = 12_800


def frame_picture(number: int, width: int, height: int) -> np.ndarray:
    """Return a grey frame whose level encodes its number; its top-left quarter is red, to detect rotation."""
    picture = np.full((height, width, 3), 20 + 2 * number, dtype=np.uint8)
    picture[: height // 2, : width // 2] = (200, 20, 20)
    return picture


def numbers_of(frames: np.ndarray) -> list[int]:
    """Return the numbers of square frames of a numbered film, read from the bottom right corner."""
    part = frames.shape[1] // 4
    corners = frames[:, -part:, -part:].mean(axis=(1, 2, 3))
    # Limited-range video has 219 levels of grey, so not every level round-trips exactly.
    levels = np.round((20 + 2 * np.arange(118)) * 219 / 255) * 255 / 219
    return [int(np.abs(levels - corner).argmin()) for corner in corners]


def write_film(
    path: Path,
    *,
    frames: int = 50,
    fps: int = 25,
    size: tuple[int, int] = (160, 120),
    keyframe_every: int = 25,
    tone_hz: float | None = 440.0,
    sound_s: float | None = None,
    rotation: int = 0,
    codec: str = "libx264",
    bframes: int = 0,
    open_gop: bool = False,
    times_s: Sequence[float] | None = None,
    start_s: float = 0.0,
    movflags: str = "",
    muxing: dict[str, str] | None = None,
    first: int = 0,
    live: bool = False,
) -> Path:
    """Encode a numbered film of `frames` frames; `tone_hz=None` leaves sound out, 0 makes the sound silent.

    times_s: presentation time of each frame (variable rate). start_s: offset added to all times; in MP4 an edit list
    cuts off what comes before 0. sound_s: length of the sound, by default that of the video. muxing: muxer options.
    first: number of the first frame. live: Matroska as recorded by browsers, without duration and index.
    """
    width, height = size
    with av.open(path, "w", options=_format_options(movflags, live) | (muxing or {})) as out:
        video = out.add_stream(codec, rate=fps, options=_options(codec, open_gop))
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = keyframe_every
        video.codec_context.max_b_frames = bframes
        if times_s is not None:
            video.codec_context.time_base = Fraction(1, TICKS_PER_S)
        if rotation:
            video.set_display_rotation(rotation)
        audio = out.add_stream("aac", rate=44_100, layout="mono") if tone_hz is not None else None
        for packet in _packets(video, range(first, first + frames), times_s):
            assert packet.pts is not None and packet.dts is not None
            shift = round(start_s / packet.time_base)
            packet.pts, packet.dts = packet.pts + shift, packet.dts + shift
            out.mux(packet)
        if audio is not None and tone_hz is not None:
            seconds = frames / fps if sound_s is None else sound_s
            samples = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(int(44_100 * seconds)) / 44_100)
            sound = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            sound.sample_rate = 44_100
            out.mux(audio.encode(sound))
            out.mux(audio.encode(None))
    return path


def _format_options(movflags: str, live: bool) -> dict[str, str]:
    return ({"movflags": movflags} if movflags else {}) | ({"live": "1"} if live else {})


def _options(codec: str, open_gop: bool) -> dict[str, str]:
    if codec.startswith("mpeg"):
        return {"qmin": "1", "qmax": "1"}
    if codec != "libx264":
        return {}
    x264 = f"open-gop={int(open_gop)}:scenecut=0"
    return {"crf": "1", "preset": "veryfast", "tune": "fastdecode", "x264-params": x264}


def _packets(
    video: av.VideoStream, numbers: range, times_s: Sequence[float] | None
) -> Iterator["av.Packet[av.VideoStream]"]:
    for place, number in enumerate(numbers):
        picture = av.VideoFrame.from_ndarray(frame_picture(number, video.width, video.height), format="rgb24")
        if times_s is not None:
            picture.time_base, picture.pts = Fraction(1, TICKS_PER_S), round(times_s[place] * TICKS_PER_S)
        yield from video.encode(picture)
    yield from video.encode(None)

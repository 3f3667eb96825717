"""Films made for tests: each frame carries its own number, so that a test can tell which frames were taken."""

from pathlib import Path

import av
import numpy as np


def frame_picture(number: int, width: int, height: int) -> np.ndarray:
    """A grey frame whose level tells its number; the top-left quarter is red, so that turning it shows."""
    picture = np.full((height, width, 3), 20 + 2 * number, dtype=np.uint8)
    picture[: height // 2, : width // 2] = (200, 20, 20)
    return picture


def write_film(
    path: Path,
    *,
    frames: int = 50,
    fps: int = 25,
    size: tuple[int, int] = (160, 120),
    keyframe_every: int = 25,
    tone_hz: float | None = 440.0,
    rotation: int = 0,
    codec: str = "libx264",
) -> Path:
    """Encode a numbered film of `frames` frames; `tone_hz=None` leaves sound out, 0 makes the sound silent."""
    width, height = size
    with av.open(path, "w") as out:
        video = out.add_stream(codec, rate=fps, options={"crf": "1", "preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = width, height, "yuv420p"
        video.codec_context.gop_size = keyframe_every
        if rotation:
            video.set_display_rotation(rotation)
        audio = out.add_stream("aac", rate=44_100, layout="mono") if tone_hz is not None else None
        for number in range(frames):
            picture = av.VideoFrame.from_ndarray(frame_picture(number, width, height), format="rgb24")
            out.mux(video.encode(picture))
        out.mux(video.encode(None))
        if audio is not None and tone_hz is not None:
            samples = 0.5 * np.sin(2 * np.pi * tone_hz * np.arange(int(44_100 * frames / fps)) / 44_100)
            sound = av.AudioFrame.from_ndarray(samples[None].astype(np.float32), format="fltp", layout="mono")
            sound.sample_rate = 44_100
            out.mux(audio.encode(sound))
            out.mux(audio.encode(None))
    return path

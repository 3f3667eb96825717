"""Ways of taking n frames from a video: other people's, and ours by mode."""

from collections.abc import Callable
from pathlib import Path

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.square import Squares

Frames = NDArray[np.uint8]
Sampler = Callable[[Path], Frames | None]
SIZE = 224


def opencv_seeks(path: Path, frames: int = 8) -> Frames | None:
    """The common way: OpenCV, one seek per frame, resized as a full-size array."""
    video = cv2.VideoCapture(str(path))
    total = int(video.get(cv2.CAP_PROP_FRAME_COUNT))
    taken = []
    for i in range(frames):
        video.set(cv2.CAP_PROP_POS_FRAMES, int((i + 0.5) * total / frames))
        good, picture = video.read()
        if good:
            taken.append(_square(cv2.cvtColor(picture, cv2.COLOR_BGR2RGB)))
    video.release()
    return np.stack(taken) if taken else None


def full_decode(path: Path, frames: int = 8) -> Frames | None:
    """Decode every frame with PyAV and keep n."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        stream.codec_context.thread_count = 1
        total = stream.frames or sum(1 for _ in container.demux(stream))
        wanted = {int((i + 0.5) * total / frames) for i in range(frames)}
        container.seek(0)
        squares = Squares(SIZE, stream.sample_aspect_ratio)
        kept = [squares.of(picture) for number, picture in enumerate(container.decode(stream)) if number in wanted]
    return np.stack(kept) if kept else None


def rayreel(mode: str) -> Sampler:
    """Ours, frames only."""
    sampling = SamplingConfig.model_validate({"mode": mode})

    def sample(path: Path) -> Frames | None:
        clip = decode_file(path, sampling, SIZE, Limits())
        return clip.frames if isinstance(clip, Clip) else None

    return sample


def _square(picture: Frames) -> Frames:
    height, width = picture.shape[:2]
    scale = SIZE / min(height, width)
    small = cv2.resize(picture, (max(SIZE, round(width * scale)), max(SIZE, round(height * scale))))
    top, left = (small.shape[0] - SIZE) // 2, (small.shape[1] - SIZE) // 2
    return np.ascontiguousarray(small[top : top + SIZE, left : left + SIZE])


def longest_gap_s(path: Path) -> float:
    """The longest time between two keyframes, or from the last one to the end."""
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        packets = [p for p in container.demux(stream) if p.pts is not None]
        keys = sorted(p.pts for p in packets if p.is_keyframe)
        end = max(p.pts for p in packets)
        assert stream.time_base is not None
        return float(max(np.diff([*keys, end]), default=0) * stream.time_base) if keys else float("inf")

"""n uniform frames of a video, decoded exactly, small and square."""

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from av.container import InputContainer
from av.video.frame import VideoFrame
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rayreel.media.open import Deadline


@dataclass(frozen=True, slots=True)
class Timed:
    """A frame and when it is first shown, seconds; the first frame of a stream is shown at 0.

    Not counted from the declared start: some containers (AVI) store decode times, a frame late.
    """

    frame: VideoFrame
    at_s: float


def uniform_times(duration_s: float, n: int) -> list[float]:
    """The middles of n equal parts of the duration, seconds."""
    return [(i + 0.5) * duration_s / n for i in range(n)]


def sample_frames(
    container: InputContainer, stream: VideoStream, times_s: Sequence[float], size: int, deadline: Deadline
) -> list[NDArray[np.uint8]]:
    """The frames on screen at rising `times_s`, each [size, size, 3] RGB; one frame shown at several times comes once.

    Times after the last decodable frame give nothing, so a truncated file gives fewer frames than asked.
    """
    squares: list[NDArray[np.uint8]] = []
    last_s = -1.0
    for shown in frames_at(container, stream, times_s, deadline):
        if shown.at_s > last_s:
            squares.append(square(shown.frame, size, stream.sample_aspect_ratio))
            last_s = shown.at_s
    return squares


def frames_at(
    container: InputContainer, stream: VideoStream, times_s: Sequence[float], deadline: Deadline
) -> Iterator[Timed]:
    """For each time the last frame shown at or before it; every group of pictures is decoded at most once."""
    keyframes_s = _keyframe_times(stream)
    frames = _decode(container, stream, deadline)
    current = next(frames, None)
    origin = current.frame.pts if current else 0
    following: Timed | None = None
    for time_s in times_s:
        if current is None:
            return
        if _jump_pays(keyframes_s, (following or current).at_s, time_s):
            landed = _seek(container, stream, time_s, origin, deadline)
            if landed is None or landed[0].at_s > time_s:  # a wrong index: decoding from the start is always right
                landed = _seek(container, stream, 0.0, origin, deadline)
            if landed is None:
                return
            (current, frames), following = landed, None
        while following is None or following.at_s <= time_s:
            current, following = following or current, next(frames, None)
            if following is None:
                break
        yield current
        if following is None and time_s > current.at_s + _patience(stream):
            return


def square(frame: VideoFrame, size: int, aspect: Fraction | None) -> NDArray[np.uint8]:
    """Short side to `size` inside the scaler, turned upright, centre crop: uint8 RGB [size, size, 3].

    `aspect` is the stream's pixel aspect; pixels that are not square are stretched to what a viewer sees.
    """
    width = frame.width * (float(aspect) if aspect else 1.0)
    scale = size / min(width, frame.height)
    small = frame.reformat(
        width=max(size, round(width * scale)), height=max(size, round(frame.height * scale)), format="rgb24"
    ).to_ndarray()
    upright = np.rot90(small, k=frame.rotation // 90)
    top, left = (upright.shape[0] - size) // 2, (upright.shape[1] - size) // 2
    return np.ascontiguousarray(upright[top : top + size, left : left + size])


def _patience(stream: VideoStream) -> float:
    """How long the last frame may stay on screen: two frame times, or a tenth of a second for odd rates."""
    return max(0.1, 2 / float(stream.average_rate)) if stream.average_rate else 0.1


def _decode(
    container: InputContainer, stream: VideoStream, deadline: Deadline, origin: int | None = None
) -> Iterator[Timed]:
    for frame in container.decode(stream):
        deadline.check()
        if frame.pts is not None and stream.time_base is not None:
            origin = frame.pts if origin is None else origin
            yield Timed(frame, float((frame.pts - origin) * stream.time_base))


def _seek(
    container: InputContainer, stream: VideoStream, time_s: float, origin: int | None, deadline: Deadline
) -> tuple[Timed, Iterator[Timed]] | None:
    assert stream.time_base is not None
    container.seek(int(time_s / stream.time_base) + (origin or 0), stream=stream)
    frames = _decode(container, stream, deadline, origin)
    first = next(frames, None)
    return None if first is None else (first, frames)


def _keyframe_times(stream: VideoStream) -> list[float]:
    """From the container's index, without reading packets; empty when it has none.

    These are decode times, ahead of display times by the reordering delay: near enough to tell whether a jump pays.
    """
    if stream.time_base is None:
        return []
    return sorted(float(entry.timestamp * stream.time_base) for entry in stream.index_entries if entry.is_keyframe)


def _jump_pays(keyframes_s: list[float], now_s: float, time_s: float) -> bool:
    """Whether a jump skips a whole group of pictures; for less than one, a seek costs more than it saves."""
    return bisect_right(keyframes_s, time_s) > bisect_right(keyframes_s, now_s) + 1

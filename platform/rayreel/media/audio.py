"""Uniform windows of sound, 16 kHz mono."""

import numpy as np
from av.audio.resampler import AudioResampler
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.media.open import Deadline

# Codecs with overlapping blocks need a little sound before a seek point to come out right.
_PREROLL_S = 0.2
SILENCE = 1e-4


def window_starts(duration_s: float, windows: int, window_s: float) -> list[float]:
    """Starts of up to `windows` evenly spread windows that do not overlap, seconds; at least one."""
    count = max(1, min(windows, int(duration_s // window_s)))
    return list(np.linspace(0, max(0.0, duration_s - window_s), count)) if count > 1 else [0.0]


def sample_windows(
    container: InputContainer,
    stream: AudioStream,
    starts_s: list[float],
    window_s: float,
    deadline: Deadline,
) -> NDArray[np.float32] | None:
    """float32 [w, 16000 x window_s]; None when nothing audible is there.

    A window that the sound ends in is filled up with silence; one that it does not reach is left out.
    """
    windows = [_window(container, stream, start, window_s, deadline) for start in starts_s]
    heard = [window for window in windows if window is not None]
    if not heard or max(float(np.abs(window).max()) for window in heard) < SILENCE:
        return None
    return np.stack(heard)


def _window(
    container: InputContainer, stream: AudioStream, start_s: float, window_s: float, deadline: Deadline
) -> NDArray[np.float32] | None:
    assert stream.time_base is not None
    origin = (stream.start_time or 0) * stream.time_base
    container.seek(int((max(0.0, start_s - _PREROLL_S) + origin) / stream.time_base), stream=stream)
    resampler = AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ)
    window = np.zeros(round(window_s * AUDIO_RATE_HZ), dtype=np.float32)
    filled, position = 0, None
    for frame in container.decode(stream):
        deadline.check()
        if frame.pts is None:
            continue
        if position is None:
            position = round(float(frame.pts * stream.time_base - origin - start_s) * AUDIO_RATE_HZ)
        for piece in resampler.resample(frame):
            samples = piece.to_ndarray().ravel().astype(np.float32, copy=False)
            filled = max(filled, _place(window, samples, position))
            position += len(samples)
        if position >= len(window):
            break
    return window if filled else None


def _place(window: NDArray[np.float32], samples: NDArray[np.float32], position: int) -> int:
    """Copy samples whose first belongs at `position` (may lie outside); returns the end of what was written."""
    begin, end = max(0, position), min(len(window), position + len(samples))
    if begin >= end:
        return 0
    window[begin:end] = samples[begin - position : end - position]
    return end

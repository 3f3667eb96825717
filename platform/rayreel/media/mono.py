"""Sound of any channel layout, 16 kHz mono."""

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from rayreel.media.config import AUDIO_RATE_HZ

# A mix this much weaker than its loudest channel is no mix: the channels cancel out. One of two channels alone has a
# quarter of its power left in the mix, one of the eight of 7.1 at least 1.2 %.
_CANCELLED = 0.01
_STRIDE = 8  # frames that power is measured on
_LOUD = 0.05**2  # power of a mix that no channel is loud enough to be 100 times above, for all that is recorded


def to_mono(frames: Sequence[AudioFrame]) -> Iterator[NDArray[np.float32]]:
    """Consecutive pieces of float32 samples at 16 kHz, from frames of one format that follow each other.

    Channels are mixed. The loudest is taken alone where that leaves little, as with opposite phases, and where FFmpeg
    knows no mix: ambisonics, whose first channel is both the loudest and the sound from all sides.
    """
    try:
        mix = _resample(frames)
    except av.error.ArgumentError:
        yield from _resample(_alone(frames, _loudest(frames)[0]))
        return
    if frames[0].layout.nb_channels > 1 and (power := _power(mix)) < _LOUD:
        channel, most = _loudest(frames)
        if power < _CANCELLED * most:
            mix = _resample(_alone(frames, channel))
    yield from mix


def _resample(frames: Sequence[AudioFrame]) -> list[NDArray[np.float32]]:
    resampler = AudioResampler(format="flt", layout="mono", rate=AUDIO_RATE_HZ, frame_size=AUDIO_RATE_HZ)
    pieces = [piece for frame in (*frames, None) for piece in resampler.resample(frame)]
    return [piece.to_ndarray().ravel().astype(np.float32, copy=False) for piece in pieces]


def _loudest(frames: Sequence[AudioFrame]) -> tuple[int, float]:
    """The channel with the most power, and that power, by some of the frames."""
    tracks = [_channels(frame) for frame in frames[::_STRIDE]]
    powers = np.sum([np.square(track).sum(axis=1) for track in tracks], axis=0)
    channel = int(powers.argmax())
    return channel, float(powers[channel]) / max(1, sum(track.shape[1] for track in tracks))


def _alone(frames: Sequence[AudioFrame], channel: int) -> list[AudioFrame]:
    return [_mono_frame(_channels(frame)[channel], frame) for frame in frames]


def _channels(frame: AudioFrame) -> NDArray[np.float32]:
    """Samples in [-1, 1], [channels, n]."""
    samples = frame.to_ndarray()
    if not frame.format.is_planar:
        samples = samples.reshape(-1, frame.layout.nb_channels).T
    if samples.dtype.kind == "f":
        wide = samples.astype(np.float32)
    else:
        half = 2.0 ** (8 * samples.dtype.itemsize - 1)
        wide = ((samples.astype(np.float64) - half * (samples.dtype.kind == "u")) / half).astype(np.float32)
    return np.nan_to_num(wide, copy=False, posinf=0, neginf=0)


def _mono_frame(samples: NDArray[np.float32], like: AudioFrame) -> AudioFrame:
    frame = AudioFrame.from_ndarray(np.ascontiguousarray(samples[None]), format="flt", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = like.sample_rate, like.pts, like.time_base
    return frame


def _power(pieces: Sequence[NDArray[np.float32]]) -> float:
    total = sum(float(np.square(np.nan_to_num(piece)).sum()) for piece in pieces)
    return total / max(1, sum(map(len, pieces)))

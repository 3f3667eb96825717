"""Mix audio of any channel layout to 16 kHz mono."""

from collections.abc import Iterator, Sequence

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.resampler import AudioResampler
from numpy.typing import NDArray

from rayreel.media.config import AUDIO_RATE_HZ

# With less than this share of the loudest channel's power in the mix, the channels cancel out. A mix keeps half of the
# power of one channel of two that sounds alone, and a quarter with 7.1 channels.
_CANCELLED = 0.05
_STRIDE = 8  # power is measured on every eighth frame
_LOUD = 0.03**2  # a mix of more power is not checked: it is audible even if channels cancel out in part


def to_mono(frames: Sequence[AudioFrame]) -> Iterator[NDArray[np.float32]]:
    """Yield consecutive pieces of float32 samples at 16 kHz from consecutive frames of one format.

    Channels are mixed. Where they cancel out, as with opposite phases, the loudest is taken instead; also where FFmpeg
    has no mix for the layout (ambisonics, whose first channel is omnidirectional and the loudest).
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
    """Return the channel with the most power in some of the frames, and that power."""
    powers = np.square(_channels(frames[::_STRIDE])).mean(axis=1)
    channel = int(powers.argmax())
    return channel, float(powers[channel])


def _alone(frames: Sequence[AudioFrame], channel: int) -> list[AudioFrame]:
    alone = AudioFrame.from_ndarray(_channels(frames)[channel][None].copy(), format="flt", layout="mono")
    alone.sample_rate = frames[0].sample_rate
    return [alone]


def _channels(frames: Sequence[AudioFrame]) -> NDArray[np.float32]:
    """Return all samples, [channels, n].

    FFmpeg interleaves them first, because PyAV 18.1 reads out of bounds in frames of eight or more planes.
    """
    first = frames[0]
    interleave = AudioResampler(format="flt", layout=first.layout, rate=first.sample_rate)
    pieces = [piece for frame in (*frames, None) for piece in interleave.resample(frame)]
    samples = np.concatenate([piece.to_ndarray().ravel() for piece in pieces])
    channels: NDArray[np.float32] = samples.reshape(-1, first.layout.nb_channels).T
    return np.nan_to_num(channels, posinf=0, neginf=0)


def _power(pieces: Sequence[NDArray[np.float32]]) -> float:
    total = sum(float(np.square(np.nan_to_num(piece)).sum()) for piece in pieces)
    return total / max(1, sum(map(len, pieces)))

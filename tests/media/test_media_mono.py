"""Mono mixes of any channel layout."""

from collections.abc import Sequence

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from rayreel.media.mono import to_mono

RATE = 48_000
TONE = 0.5 * np.sin(2 * np.pi * 440 * np.arange(RATE) / RATE)
KINDS = {"fltp": 1.0, "flt": 1.0, "s16": 32767, "s16p": 32767, "s32": 2**31 - 1, "dbl": 1.0}


def frames(layout: str, levels: Sequence[float], form: str = "fltp", noise: float = 0.0) -> list[av.AudioFrame]:
    """Yield a second of a tone with these levels per channel, in frames of 1024 samples."""
    form = form if len(levels) < 8 else "flt"  # PyAV cannot fill eight planes
    random = np.random.default_rng(1)
    sound = np.outer(levels, TONE) + noise * random.standard_normal((len(levels), RATE))
    made = []
    for begin in range(0, RATE - 1023, 1024):
        part = sound[:, begin : begin + 1024] * KINDS[form]
        planes = part if form.endswith("p") else part.T.reshape(1, -1)
        planes = np.ascontiguousarray(planes.astype(np.dtype(av.audio.frame.format_dtypes[form])))
        frame = av.AudioFrame.from_ndarray(planes, format=form, layout=layout)
        frame.sample_rate, frame.pts = RATE, begin
        made.append(frame)
    return made


def mono(made: list[av.AudioFrame]) -> NDArray[np.float32]:
    return np.concatenate(list(to_mono(made)))


def level(samples: NDArray[np.float32]) -> float:
    """Return the amplitude of the tone."""
    return float(np.abs(samples).max()) / 0.5


@pytest.mark.parametrize("form", KINDS)
def test_channels_are_mixed_like_in_ffmpeg(form: str) -> None:
    assert level(mono(frames("stereo", (0.8, 0.4), form))) == pytest.approx(1.2 / np.sqrt(2), rel=0.02)


@pytest.mark.parametrize("form", KINDS)
@pytest.mark.parametrize("right", [-1.0, -0.99, -0.9])
def test_opposite_phases_do_not_cancel_out(right: float, form: str) -> None:
    assert level(mono(frames("stereo", (1.0, right), form))) == pytest.approx(1.0, rel=0.02)


def test_opposite_phases_do_not_leave_only_codec_noise() -> None:
    assert level(mono(frames("stereo", (0.4, -0.4), noise=0.002))) == pytest.approx(0.4, rel=0.1)


@pytest.mark.parametrize("levels", [(1.0, 0.0), (0.0, 1.0), (0.01, 0.0), (0.001, 0.001)])
def test_a_single_channel_and_quiet_sound_are_mixed_normally(levels: tuple[float, float]) -> None:
    assert level(mono(frames("stereo", levels))) == pytest.approx(sum(levels) / np.sqrt(2), rel=0.05)


@pytest.mark.parametrize("channel", range(6))
def test_each_channel_of_six_is_in_the_mix(channel: int) -> None:
    levels = [float(place == channel) for place in range(6)]
    assert level(mono(frames("5.1", levels))) > 0.1


@pytest.mark.parametrize("layout", ["ambisonic 1", "7.1", "octagonal", "4 channels", "2 channels", "3 channels"])
def test_no_layout_is_silent(layout: str) -> None:
    channels = av.AudioLayout(layout).nb_channels
    for channel in range(channels):
        levels = [float(place == channel) for place in range(channels)]
        assert level(mono(frames(layout, levels))) > 0.1


def test_ambisonic_sound_gives_its_omnidirectional_channel() -> None:
    assert level(mono(frames("ambisonic 1", (1.0, 0.5, 0.1, -0.7)))) == pytest.approx(1.0, rel=0.02)


def test_eight_planes_of_a_decoder_are_read_correctly() -> None:
    encoder = av.CodecContext.create("aac", "w")
    encoder.sample_rate, encoder.layout, encoder.format, encoder.bit_rate = RATE, "7.1", "fltp", 512_000
    packets = [packet for frame in frames("7.1", (0.8, -0.8, 0, 0, 0, 0, 0, 0)) for packet in encoder.encode(frame)]
    decoder = av.CodecContext.create("aac", "r")
    decoder.extradata = encoder.extradata
    decoded = [frame for packet in packets for frame in decoder.decode(packet)]
    assert decoded[0].format.is_planar and decoded[0].layout.nb_channels == 8
    assert level(mono(decoded)[4000:-4000]) == pytest.approx(0.8, rel=0.1)


def test_a_mix_of_silence_is_silent() -> None:
    assert level(mono(frames("stereo", (0.0, 0.0)))) == 0
    assert level(mono(frames("ambisonic 1", (0.0, 0.0, 0.0, 0.0)))) == 0

"""Spans of audio tracks on the timeline of the pictures, and their windows."""

from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from rayreel.deadline import Deadline
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.keyframes import read_timeline
from rayreel.media.packets import film_in
from rayreel.media.sound import SoundTrack

FilmMaker = Callable[..., Path]
RATE = 16_000


def write_rising(path: Path, begin_s: float, end_s: float, picture_s: float = 8.0) -> Path:
    """Write pictures for `picture_s` and a tone from `begin_s` to `end_s` with the pitch 500 Hz + 100 Hz/s."""
    with av.open(path, "w") as out:
        video = out.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 64, "yuv420p"
        audio = out.add_stream("aac", rate=44_100, layout="mono")
        for number in range(round(picture_s * 25)):
            out.mux(video.encode(av.VideoFrame.from_ndarray(np.full((64, 64, 3), number, np.uint8), format="rgb24")))
        out.mux(video.encode(None))
        t = begin_s + np.arange(int((end_s - begin_s) * 44_100)) / 44_100
        wave = 0.5 * np.sin(2 * np.pi * (500 * t + 50 * t**2))
        sound = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        sound.sample_rate = 44_100
        sound.time_base, sound.pts = Fraction(1, 44_100), round(begin_s * 44_100)
        out.mux(audio.encode(sound))
        out.mux(audio.encode(None))
    return path


def windows_of(path: Path, audio_first_s: float | None = None) -> np.ndarray:
    sampling = SamplingConfig(audio_windows=4, audio_window_s=0.5, audio_first_s=audio_first_s)
    clip = decode_file(path, sampling, 64, Limits())
    assert isinstance(clip, Clip) and clip.windows is not None
    return clip.windows


def recorded_times(windows: np.ndarray) -> list[float]:
    """Return the time of the middle of each window, by its pitch."""
    middles = windows[:, RATE // 5 : RATE * 3 // 10]
    spectra = np.abs(np.fft.rfft(middles * np.hanning(middles.shape[1]), n=RATE, axis=1))
    return [(float(pitch) - 500) / 100 for pitch in spectra.argmax(axis=1)]


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts", "a.mov"])
@pytest.mark.parametrize(("begin_s", "end_s"), [(0.0, 8.0), (3.0, 8.0), (0.0, 4.0), (2.5, 5.0)])
def test_windows_are_taken_within_the_sound_and_have_the_right_times(
    tmp_path: Path, name: str, begin_s: float, end_s: float
) -> None:
    windows = windows_of(write_rising(tmp_path / name, begin_s, end_s))
    starts_s = np.linspace(begin_s, end_s - 0.5, 4)
    times = recorded_times(windows)
    # Matroska does not declare the end of sound that ends before the last keyframe.
    assert len(windows) == 4 or name == "a.mkv"
    if len(windows) == 4 and name != "a.mkv":
        np.testing.assert_allclose(times, starts_s + 0.25, atol=0.2)
    assert all(begin_s <= time_s <= end_s + 0.2 for time_s in times)


@pytest.mark.parametrize(
    ("begin_s", "first_s", "starts_s"),
    [
        (0.0, 2.0, [0.0, 0.5, 1.0, 1.5]),
        (3.0, 2.0, [3.0, 3.5, 4.0, 4.5]),
        (0.0, 0.5, [0.0]),
        (0.0, 100.0, [0.0, 2.5, 5.0, 7.5]),
    ],
)
def test_windows_are_taken_from_the_first_seconds_of_the_track(
    tmp_path: Path, begin_s: float, first_s: float, starts_s: list[float]
) -> None:
    times = recorded_times(windows_of(write_rising(tmp_path / "a.mp4", begin_s, 8.0), first_s))
    np.testing.assert_allclose(times, np.array(starts_s) + 0.25, atol=0.2)


def test_sound_of_a_still_picture_is_used_to_its_end(tmp_path: Path) -> None:
    times = recorded_times(windows_of(write_rising(tmp_path / "a.mp4", 0.0, 8.0, picture_s=0.04)))
    np.testing.assert_allclose(times, [0.25, 2.75, 5.25, 7.75], atol=0.2)


def test_times_are_relative_to_the_first_picture(tmp_path: Path) -> None:
    with av.open(write_rising(tmp_path / "a.ts", 3.0, 8.0)) as container:
        read = read_timeline(film_in(container, container.streams.video[0], Deadline(60)))
        assert read is not None
        (sound,) = read.sounds.values()
    assert sound.begin_s == pytest.approx(3.0, abs=0.1) and sound.end_s == pytest.approx(8.0, abs=0.1)


def test_sound_that_covers_the_pictures_has_their_span() -> None:
    assert SoundTrack(-0.04, 8.02, 0.0).span(pictures_s=8.0, duration_s=8.0) == (0.0, 8.0)
    assert SoundTrack(0.3, float("inf"), 0.0).span(pictures_s=8.0, duration_s=8.0) == (0.0, 8.0)
    assert SoundTrack(2.0, 20.0, 0.0).span(pictures_s=8.0, duration_s=20.0) == (2.0, 20.0)


@pytest.mark.parametrize("name", ["a.mp4", "a.mkv", "a.ts"])
def test_a_broken_audio_track_affects_only_itself(film: FilmMaker, name: str) -> None:
    path = film(name, frames=50)
    with av.open(path) as container:
        audio = container.streams.audio[0]
        places = [(packet.pos, packet.size) for packet in container.demux(audio) if packet.pos and packet.size > 8]
    data = bytearray(path.read_bytes())
    for place, size in places:
        begin = place + 24  # after a header of TS or Matroska
        data[begin : begin + min(size, 100)] = b"\xff" * min(size, 100) if name != "a.mp4" else bytes(min(size, 100))
    path.write_bytes(data)
    clip = decode_file(path, SamplingConfig(frames=4), 64, Limits())
    assert isinstance(clip, Clip) and len(clip.frames) == 4

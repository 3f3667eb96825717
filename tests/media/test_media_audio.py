"""Windows of sound: their times, their content, and damaged tracks."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from rayreel.deadline import Deadline
from rayreel.media.audio import sample_windows, window_starts
from rayreel.media.sound import indexed_tracks

FilmMaker = Callable[..., Path]
RATE = 16_000


def write_sound(path: Path, wave: np.ndarray, rate: int = 44_100, codec: str = "aac") -> Path:
    with av.open(path, "w") as out:
        stream = out.add_stream(codec, rate=rate, layout="mono")
        assert isinstance(stream, av.AudioStream)
        sound = av.AudioFrame.from_ndarray(wave[None].astype(np.float32), format="fltp", layout="mono")
        sound.sample_rate = rate
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    return path


def rising(seconds: float, rate: int = 44_100) -> np.ndarray:
    """A tone that rises by 100 Hz each second from 500 Hz on, so that each time has its own pitch."""
    t = np.arange(int(seconds * rate)) / rate
    return 0.5 * np.sin(2 * np.pi * (500 * t + 50 * t**2))


def pitch(window: np.ndarray) -> float:
    spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window))))
    return float(spectrum.argmax() * RATE / len(window))


def windows_of(path: Path, starts_s: list[float], window_s: float) -> np.ndarray | None:
    """Return windows of a file's first audio track, at times since its start."""
    with av.open(path) as container:
        sound = next(iter(indexed_tracks(container, zero_s=0.0).values()))
        found = sample_windows(container, container.streams.audio[0], starts_s, window_s, Deadline(60), sound=sound)
        return None if found is None else found.windows


@pytest.mark.parametrize("starts_s", [[0.0, 1.0, 2.0, 3.0], [0.0, 1.2, 2.4, 8.6], [5.5]])
def test_each_window_has_the_sound_of_its_time(tmp_path: Path, starts_s: list[float]) -> None:
    windows = windows_of(write_sound(tmp_path / "a.m4a", rising(10)), starts_s, 1.0)
    assert windows is not None and windows.shape == (len(starts_s), RATE) and windows.dtype == np.float32
    for start_s, window in zip(starts_s, windows, strict=True):
        for part in (0, 9):  # the first and last tenth of a second
            measured = pitch(window[part * RATE // 10 : (part + 1) * RATE // 10])
            assert measured == pytest.approx(500 + 100 * (start_s + part / 10 + 0.05), abs=10)


def test_windows_decoded_together_equal_windows_decoded_separately(tmp_path: Path) -> None:
    path = write_sound(tmp_path / "a.m4a", rising(10), rate=48_000)
    together = windows_of(path, [0.0, 2.0, 4.0, 6.0], 2.0)
    assert together is not None
    for window, start_s in zip(together, (0.0, 2.0, 4.0, 6.0), strict=True):
        alone = windows_of(path, [start_s], 2.0)
        # May differ by one sample in time.
        assert alone is not None and np.corrcoef(window[:-100], alone[0, :-100])[0, 1] > 0.98


def test_sound_is_resampled_to_16_khz_with_the_same_pitch(film: FilmMaker) -> None:
    windows = windows_of(film(frames=100, tone_hz=1000.0), window_starts(4.0, 4, 2.0), 2.0)
    assert windows is not None and windows.shape == (2, 2 * RATE)
    assert pitch(windows[1]) == pytest.approx(1000, abs=2)


def test_sound_shorter_than_a_window_is_padded_with_silence(film: FilmMaker) -> None:
    windows = windows_of(film(frames=12), [0.0], 2.0)
    assert windows is not None and windows.shape == (1, 2 * RATE)
    assert np.abs(windows[0, :4000]).max() > 0.1 and np.abs(windows[0, 10_000:]).max() < 0.01


def test_a_window_after_the_end_of_the_sound_is_omitted(tmp_path: Path) -> None:
    windows = windows_of(write_sound(tmp_path / "a.m4a", rising(3)), [0.0, 1.0, 2.0, 4.0, 7.0], 1.0)
    assert windows is not None and len(windows) == 3


def test_a_gap_in_the_track_is_preserved(tmp_path: Path) -> None:
    whole, cut = write_sound(tmp_path / "a.mkv", rising(6)), tmp_path / "cut.mkv"
    with av.open(whole) as source, av.open(cut, "w") as out:
        stream = out.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None and packet.pts is not None and not 1 < packet.pts * packet.time_base < 2:
                packet.stream = stream
                out.mux(packet)
    windows = windows_of(cut, [1.0, 3.0], 1.0)
    assert windows is not None
    assert np.abs(windows[0, RATE // 4 : RATE * 3 // 4]).max() < 0.01
    assert pitch(windows[1, : RATE // 10]) == pytest.approx(805, abs=10)


def test_samples_never_exceed_one(tmp_path: Path) -> None:
    loud = write_sound(tmp_path / "a.m4a", np.sign(rising(3)) * 3.0)
    windows = windows_of(loud, [0.0, 1.0], 1.0)
    assert windows is not None and 0.9 < np.abs(windows).max() <= 1


def test_a_silent_track_has_no_windows(tmp_path: Path) -> None:
    assert windows_of(write_sound(tmp_path / "a.m4a", np.zeros(88_200)), [0.0], 1.0) is None


def test_windows_are_spread_evenly_and_do_not_overlap() -> None:
    assert window_starts(11.0, 4, 2.0) == [0.0, 3.0, 6.0, 9.0]
    assert window_starts(5.0, 4, 2.0) == [0.0, 3.0]
    assert window_starts(1.0, 4, 2.0) == [0.0]


def test_windows_cut_from_the_whole_track_equal_windows_decoded_by_seeking(tmp_path: Path) -> None:
    path, starts_s = write_sound(tmp_path / "a.m4a", rising(10), rate=48_000), [0.0, 3.0, 8.6]
    apart = windows_of(path, starts_s, 1.0)
    with av.open(path) as container:
        sound = next(iter(indexed_tracks(container, zero_s=0.0).values()))
        stream = container.streams.audio[0]
        found = sample_windows(container, stream, starts_s, 1.0, Deadline(60), sound=sound, track_s=6.0)
    assert found is not None and found.track is not None and found.windows is not None and apart is not None
    assert found.track.shape == (6 * RATE,) and found.track.dtype == np.int16
    np.testing.assert_allclose(found.track[3 * RATE : 4 * RATE] / 32767, found.windows[1], atol=1e-4)
    for whole, window in zip(found.windows, apart, strict=True):
        assert np.corrcoef(whole, window)[0, 1] > 0.98  # runs begin at a frame, rounded to a sample

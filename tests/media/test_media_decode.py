"""What decoding takes from a film, and what it says of files that are none."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode

FilmMaker = Callable[..., Path]
SIZE = 64


def take(path: Path, frames: int = 8, **limits: float) -> Clip | Rejected:
    return decode(str(path), SamplingConfig(frames=frames), SIZE, Limits(**limits))


def clip(path: Path, frames: int = 8) -> Clip:
    taken = take(path, frames)
    assert isinstance(taken, Clip), taken
    return taken


def numbers(taken: Clip) -> list[int]:
    """Which frames of a numbered film these are, read off the bottom right corner."""
    corner = taken.frames[:, -SIZE // 4 :, -SIZE // 4 :].mean(axis=(1, 2, 3))
    return [round((level - 20) / 2) for level in corner]


@pytest.mark.parametrize("keyframe_every", [1, 10, 25, 1000])
def test_frames_are_exactly_those_on_screen_at_uniform_times(film: FilmMaker, keyframe_every: int) -> None:
    taken = clip(film(frames=50, keyframe_every=keyframe_every), frames=4)
    assert numbers(taken) == [6, 18, 31, 43]


@pytest.mark.parametrize("name", ["film.mkv", "film.mov", "film.avi", "film.ts"])
def test_every_allowed_container_gives_the_same_frames(film: FilmMaker, name: str) -> None:
    assert numbers(clip(film(name, frames=50, tone_hz=None), frames=4)) == [6, 18, 31, 43]


def test_a_video_with_fewer_frames_than_asked_gives_each_frame_once(film: FilmMaker) -> None:
    assert numbers(clip(film(frames=3), frames=8)) == [0, 1, 2]


def test_a_video_of_a_single_frame_gives_that_frame(film: FilmMaker) -> None:
    assert numbers(clip(film(frames=1, tone_hz=None))) == [0]


@pytest.mark.parametrize(("rotation", "corner"), [(0, (0, 0)), (90, (1, 0)), (180, (1, 1)), (-90, (0, 1))])
def test_a_rotated_video_is_turned_upright(film: FilmMaker, rotation: int, corner: tuple[int, int]) -> None:
    frame = clip(film(frames=5, size=(120, 120), rotation=rotation)).frames[2].astype(int)
    half = SIZE // 2
    redness = {
        (row, column): (block[..., 0] - block[..., 1]).mean()
        for row in (0, 1)
        for column in (0, 1)
        for block in [frame[row * half : (row + 1) * half, column * half : (column + 1) * half]]
    }
    assert max(redness, key=lambda place: redness[place]) == corner


def test_the_short_side_fills_the_frame_and_the_middle_is_kept(film: FilmMaker) -> None:
    frame = clip(film(frames=5, size=(320, 120), tone_hz=None)).frames[0].astype(int)
    assert frame.shape == (SIZE, SIZE, 3)
    reddish = (frame[: SIZE // 2, :, 0] - frame[: SIZE // 2, :, 1]).mean(axis=0) > 50
    assert reddish[: SIZE // 2 - 2].all() and not reddish[SIZE // 2 + 2 :].any()


def test_sound_comes_as_windows_at_16_khz_with_the_tone_it_has(film: FilmMaker) -> None:
    windows = clip(film(frames=100, tone_hz=1000.0)).windows
    assert windows is not None and windows.shape == (2, 32_000)
    spectrum = np.abs(np.fft.rfft(windows[1]))
    assert np.argmax(spectrum) * 16_000 / 32_000 == pytest.approx(1000, abs=2)


def test_sound_shorter_than_a_window_still_gives_one(film: FilmMaker) -> None:
    windows = clip(film(frames=12)).windows
    assert windows is not None and windows.shape == (1, 32_000)
    assert np.abs(windows[0, :4000]).max() > 0.1 and np.abs(windows[0, 10_000:]).max() < 0.01


@pytest.mark.parametrize("tone_hz", [None, 0.0])
def test_no_track_and_a_silent_track_are_both_no_sound(film: FilmMaker, tone_hz: float | None) -> None:
    taken = clip(film(tone_hz=tone_hz))
    assert taken.windows is None and not taken.facts.has_audio


def test_facts_and_hash_belong_to_the_file(film: FilmMaker) -> None:
    first, second = clip(film("a.mp4", frames=50)), clip(film("b.mp4", frames=51))
    assert (first.facts.width, first.facts.height, first.facts.fps) == (160, 120, 25)
    assert first.facts.duration_s == pytest.approx(2, abs=0.1)
    assert first.content_hash != second.content_hash and len(first.content_hash) == 64


def test_a_truncated_film_is_rejected_or_gives_only_what_is_there(film: FilmMaker) -> None:
    whole = film(frames=50)
    whole.write_bytes(whole.read_bytes()[:2000])
    taken = take(whole)
    assert isinstance(taken, Rejected) and taken.reason is Reason.UNREADABLE


def test_a_text_file_named_mp4_is_unreadable(tmp_path: Path) -> None:
    path = tmp_path / "notes.mp4"
    path.write_text("not a film at all\n" * 50)
    taken = take(path)
    assert isinstance(taken, Rejected) and taken.reason is Reason.UNREADABLE and "notes.mp4" in taken.detail


def test_a_concat_script_never_opens_the_file_it_names(film: FilmMaker, tmp_path: Path) -> None:
    film("secret.mp4")
    script = tmp_path / "innocent.mp4"
    script.write_text("ffconcat version 1.0\nfile secret.mp4\n")
    taken = take(script)
    assert isinstance(taken, Rejected) and taken.reason is Reason.CONTAINER_NOT_ALLOWED


def test_a_playlist_never_opens_the_file_it_names(film: FilmMaker, tmp_path: Path) -> None:
    film("secret.ts")
    playlist = tmp_path / "innocent.mp4"
    playlist.write_text("#EXTM3U\n#EXT-X-TARGETDURATION:2\n#EXTINF:2,\nsecret.ts\n#EXT-X-ENDLIST\n")
    assert isinstance(take(playlist), Rejected)


def test_sound_without_pictures_is_no_video(tmp_path: Path) -> None:
    import av

    path = tmp_path / "song.mp4"
    with av.open(path, "w") as out:
        stream = out.add_stream("aac", rate=16_000, layout="mono")
        sound = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        sound.sample_rate = 16_000
        out.mux(stream.encode(sound))
        out.mux(stream.encode(None))
    taken = take(path)
    assert isinstance(taken, Rejected) and taken.reason is Reason.NO_VIDEO_STREAM


@pytest.mark.parametrize(
    ("limit", "reason"),
    [
        ({"max_duration_s": 1.0}, Reason.TOO_LONG),
        ({"max_bytes": 100}, Reason.TOO_LARGE),
        ({"max_pixels": 100}, Reason.TOO_LARGE),
        ({"max_streams": 1}, Reason.TOO_LARGE),
    ],
)
def test_a_film_over_a_limit_is_rejected_before_it_is_decoded(
    film: FilmMaker, limit: dict[str, float], reason: Reason
) -> None:
    taken = take(film(frames=50), **limit)
    assert isinstance(taken, Rejected) and taken.reason is reason


def test_a_missing_file_is_told(tmp_path: Path) -> None:
    taken = take(tmp_path / "gone.mp4")
    assert isinstance(taken, Rejected) and taken.reason is Reason.MISSING_FILE


def test_a_remote_file_is_read_through_its_file_system(film: FilmMaker) -> None:
    import fsspec

    local = film(frames=20)
    with fsspec.open("memory://bucket/film.mp4", "wb") as remote:
        remote.write(local.read_bytes())
    remote_clip = decode("memory://bucket/film.mp4", SamplingConfig(), SIZE, Limits())
    assert isinstance(remote_clip, Clip)
    np.testing.assert_array_equal(remote_clip.frames, clip(local).frames)


def test_a_missing_remote_object_is_a_missing_file() -> None:
    taken = decode("memory://bucket/gone.mp4", SamplingConfig(), SIZE, Limits())
    assert isinstance(taken, Rejected) and taken.reason is Reason.MISSING_FILE

"""Decoding of valid films, and rejection of other files."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from films import numbers_of
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode

FilmMaker = Callable[..., Path]
SIZE = 64


def take(path: Path, frames: int = 8, **limits: Any) -> Clip | Rejected:  # noqa: ANN401
    return decode(str(path), SamplingConfig(frames=frames, mode="exact"), SIZE, Limits(**limits))


def clip(path: Path, frames: int = 8) -> Clip:
    taken = take(path, frames)
    assert isinstance(taken, Clip), taken
    return taken


def numbers(taken: Clip) -> list[int]:
    return numbers_of(taken.frames)


@pytest.mark.parametrize("name", ["film.mkv", "film.mov", "film.avi", "film.ts"])
def test_every_allowed_container_gives_the_same_frames(film: FilmMaker, name: str) -> None:
    assert numbers(clip(film(name, frames=50, tone_hz=None), frames=4)) == [6, 18, 31, 43]


def test_a_video_with_fewer_frames_than_requested_gives_each_frame_once(film: FilmMaker) -> None:
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


@pytest.mark.parametrize("tone_hz", [None, 0.0])
def test_a_missing_track_and_a_silent_track_both_give_no_windows(film: FilmMaker, tone_hz: float | None) -> None:
    taken = clip(film(tone_hz=tone_hz))
    assert taken.windows is None and not taken.facts.has_audio


def test_facts_and_hash_belong_to_the_file(film: FilmMaker) -> None:
    first, second = clip(film("a.mp4", frames=50)), clip(film("b.mp4", frames=51))
    assert (first.facts.width, first.facts.height, first.facts.fps) == (160, 120, 25)
    assert first.facts.duration_s == pytest.approx(2, abs=0.1)
    assert first.content_hash != second.content_hash and len(first.content_hash) == 64


def cut(path: Path, share: float) -> Path:
    path.write_bytes(path.read_bytes()[: int(path.stat().st_size * share)])
    return path


def test_a_film_cut_before_its_index_is_unreadable(film: FilmMaker) -> None:
    taken = take(cut(film(frames=50), 0.1))
    assert isinstance(taken, Rejected) and taken.reason is Reason.UNREADABLE


@pytest.mark.parametrize(("name", "movflags"), [("film.mp4", "faststart"), ("film.mkv", "")])
def test_a_film_with_less_than_half_of_its_data_is_truncated(film: FilmMaker, name: str, movflags: str) -> None:
    taken = take(cut(film(name, frames=50, size=(320, 240), movflags=movflags), 0.3))
    assert isinstance(taken, Rejected) and taken.reason is Reason.TRUNCATED and "2.0 s" in taken.detail


@pytest.mark.parametrize(("name", "movflags"), [("film.mp4", "faststart"), ("film.mkv", "")])
def test_a_film_with_more_than_half_of_its_data_gives_frames_of_it(film: FilmMaker, name: str, movflags: str) -> None:
    taken = clip(cut(film(name, frames=50, size=(320, 240), tone_hz=None, movflags=movflags), 0.75), frames=4)
    assert len(taken.frames) == 4 and 25 <= numbers(taken)[-1] < 40
    assert taken.facts.duration_s == pytest.approx(2, abs=0.05)


def test_a_film_whose_later_data_is_blank_is_truncated(film: FilmMaker) -> None:
    path = film(frames=110, size=(320, 240), keyframe_every=10, tone_hz=None)
    data = bytearray(path.read_bytes())
    begin, end = data.index(b"mdat") + len(data) * 3 // 10, data.index(b"moov") - 4
    data[begin:end] = bytes(end - begin)
    path.write_bytes(data)
    taken = take(path)
    assert isinstance(taken, Rejected) and taken.reason is Reason.TRUNCATED


def test_a_damaged_packet_does_not_reject_a_film_if_only_its_first_seconds_are_sampled(film: FilmMaker) -> None:
    path = film(frames=110, size=(320, 240), keyframe_every=10, tone_hz=None)
    with av.open(path) as container:
        damaged = [packet for packet in container.demux(video=0) if packet.size][15]
    assert damaged.pos is not None
    begin, end = damaged.pos + 4, damaged.pos + damaged.size
    data = bytearray(path.read_bytes())
    data[begin:end] = b"\xff" * (end - begin)
    path.write_bytes(data)
    sampling = SamplingConfig(mode="exact", frames=3, frame_interval_s=0.6)
    taken = decode(str(path), sampling, SIZE, Limits())
    assert isinstance(taken, Clip) and numbers(taken)[::2] == [0, 30]


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_pictures_that_end_before_the_sound_are_not_truncated(film: FilmMaker, name: str) -> None:
    assert numbers(clip(film(name, frames=50, sound_s=9), frames=4)) == [6, 18, 31, 43]


def test_broken_sound_is_logged_and_the_pictures_are_kept(film: FilmMaker, caplog: pytest.LogCaptureFixture) -> None:
    path = film("film.avi", frames=50)
    data = bytearray(path.read_bytes())
    at, index = data.find(b"01wb"), data.index(b"idx1")
    while 0 <= at < index:
        length = int.from_bytes(data[at + 4 : at + 8], "little")
        data[at + 8 : at + 8 + length] = bytes(length)
        at = data.find(b"01wb", at + 8 + length)
    path.write_bytes(data)
    taken = clip(path, frames=4)
    assert numbers(taken) == [6, 18, 31, 43]
    assert taken.windows is None and not taken.facts.has_audio
    assert any("audio" in record.message for record in caplog.records if record.levelname == "ERROR")


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


def test_sound_without_pictures_is_not_a_video(tmp_path: Path) -> None:
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
    film: FilmMaker, limit: dict[str, Any], reason: Reason
) -> None:
    taken = take(film(frames=50), **limit)
    assert isinstance(taken, Rejected) and taken.reason is reason


def test_a_missing_file_is_reported(tmp_path: Path) -> None:
    taken = take(tmp_path / "gone.mp4")
    assert isinstance(taken, Rejected) and taken.reason is Reason.MISSING_FILE


def test_a_remote_file_is_read_through_its_file_system(film: FilmMaker) -> None:
    import fsspec

    local = film(frames=20)
    with fsspec.open("memory://bucket/film.mp4", "wb") as remote:
        remote.write(local.read_bytes())
    remote_clip = decode("memory://bucket/film.mp4", SamplingConfig(mode="exact"), SIZE, Limits())
    assert isinstance(remote_clip, Clip)
    np.testing.assert_array_equal(remote_clip.frames, clip(local).frames)


def test_a_missing_remote_object_is_a_missing_file() -> None:
    taken = decode("memory://bucket/gone.mp4", SamplingConfig(), SIZE, Limits())
    assert isinstance(taken, Rejected) and taken.reason is Reason.MISSING_FILE

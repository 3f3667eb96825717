"""The timeline of a film, read without decoding."""

import struct
from collections.abc import Callable
from pathlib import Path

import av
import pytest

from rayreel.deadline import Deadline
from rayreel.media.keyframes import Timeline, read_timeline
from rayreel.media.packets import film_in

FilmMaker = Callable[..., Path]


def timeline(path: Path) -> Timeline:
    with av.open(path) as container:
        read = read_timeline(film_in(container, container.streams.video[0], Deadline(60)))
        assert read is not None and not container.streams.video[0].codec_context.is_open  # nothing was decoded
        return read


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv", "film.avi", "film.ts", "film.flv"])
def test_keyframes_have_their_display_times_in_every_container(film: FilmMaker, name: str, bframes: int) -> None:
    read = timeline(film(name, frames=50, keyframe_every=10, bframes=bframes, tone_hz=None))
    assert read.keyframes_s == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6], abs=0.002)
    assert read.declared_s == pytest.approx(2.0, abs=0.1) and read.readable_s == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_a_complete_index_avoids_reading_the_packets(film: FilmMaker, name: str) -> None:
    read = timeline(film(name, frames=50, keyframe_every=10, tone_hz=None))
    assert len(read.starts) == 5 and not read.samples


@pytest.mark.parametrize(("name", "movflags"), [("film.ts", ""), ("film.mp4", "frag_keyframe+empty_moov")])
def test_without_a_complete_index_all_packets_are_read(film: FilmMaker, name: str, movflags: str) -> None:
    read = timeline(film(name, frames=50, movflags=movflags))
    assert not read.starts and len(read.samples) == 50


def test_pictures_hidden_by_an_edit_list_have_negative_times(film: FilmMaker) -> None:
    read = timeline(film(frames=50, keyframe_every=25, start_s=-0.5, tone_hz=None))
    assert read.keyframes_s == pytest.approx([-0.5, 0.5], abs=0.021) and read.declared_s == pytest.approx(1.5, abs=0.05)


def test_a_cut_file_is_readable_up_to_the_first_missing_packet(film: FilmMaker) -> None:
    path = film(frames=50, movflags="faststart", size=(320, 240), tone_hz=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = timeline(path)
    assert read.declared_s == pytest.approx(2.0) and 0.2 < read.readable_s < 1.8


@pytest.mark.parametrize("keyframe_every", [10, 1000])
@pytest.mark.parametrize("tone_hz", [None, 440.0])
def test_a_live_recording_has_the_duration_of_its_packets(
    film: FilmMaker, keyframe_every: int, tone_hz: float | None
) -> None:
    read = timeline(film("film.mkv", frames=50, keyframe_every=keyframe_every, live=True, tone_hz=tone_hz))
    assert read.declared_s == read.readable_s == pytest.approx(2.0, abs=0.05) and len(read.samples) == 50


def declaring(path: Path, name: bytes, duration: float) -> Path:
    """Replace the number after this name, in the format of FLV and Matroska."""
    data = bytearray(path.read_bytes())
    at = data.index(name) + len(name)
    data[at : at + 8] = struct.pack(">d", duration)
    path.write_bytes(data)
    return path


@pytest.mark.parametrize("declared_s", [0.0, 0.3, 9.0, 2_147_483.63])
def test_a_wrong_duration_in_flv_is_ignored(film: FilmMaker, declared_s: float) -> None:
    path = declaring(film("film.flv", frames=50, tone_hz=None), b"\0\x08duration\0", declared_s)
    assert timeline(path).declared_s == pytest.approx(2.0, abs=0.1)


@pytest.mark.parametrize("declared_s", [0.9, 9.0, 100_000.0])
@pytest.mark.parametrize("keyframe_every", [10, 1000])
def test_a_wrong_duration_in_matroska_is_ignored(film: FilmMaker, keyframe_every: int, declared_s: float) -> None:
    path = film("film.mkv", frames=50, keyframe_every=keyframe_every, tone_hz=None)
    read = timeline(declaring(path, b"\x44\x89\x88", declared_s * 1000))
    assert read.declared_s == pytest.approx(2.0, abs=0.05) and len(read.keyframes_s) == -(-50 // keyframe_every)


@pytest.mark.parametrize("box", [b"mvhd", b"tkhd", b"mdhd"])
def test_a_wrong_duration_in_mp4_is_ignored(film: FilmMaker, box: bytes) -> None:
    path = film(frames=50, tone_hz=None)
    data = bytearray(path.read_bytes())
    at = data.index(box) + (24 if box == b"tkhd" else 20)
    data[at : at + 4] = (3).to_bytes(4, "big") if box == b"mdhd" else (10**9).to_bytes(4, "big")
    path.write_bytes(data)
    assert timeline(path).declared_s == pytest.approx(2.0, abs=0.05)


def test_segments_of_a_longer_film_have_their_own_duration(film: FilmMaker) -> None:
    data = film(frames=75, movflags="frag_keyframe+empty_moov+default_base_moof", tone_hz=None).read_bytes()
    parts = [at - 4 for at in range(len(data)) if data[at : at + 4] == b"moof"]
    path = film("later.mp4", frames=1)
    path.write_bytes(data[: parts[0]] + data[parts[2] :])
    read = timeline(path)
    assert read.declared_s == pytest.approx(1.0, abs=0.05) and len(read.samples) == 25


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_still_picture_has_the_duration_of_its_sound(film: FilmMaker, name: str) -> None:
    read = timeline(film(name, frames=1, sound_s=8))
    assert read.duration_s == pytest.approx(8.0, abs=0.1) and read.declared_s < 0.5


def test_sound_hidden_by_an_edit_list_does_not_lengthen_the_pictures(film: FilmMaker) -> None:
    read = timeline(film(frames=50, keyframe_every=25, start_s=-0.7, sound_s=9))
    assert read.edited and read.duration_s == pytest.approx(1.3, abs=0.05)


def test_a_picture_with_a_time_hours_later_changes_neither_duration_nor_others(film: FilmMaker) -> None:
    path = film(frames=100, keyframe_every=25, bframes=2, tone_hz=None)
    data = bytearray(path.read_bytes())
    at = data.index(b"ctts") + 12 + 8 * 20
    data[at + 4 : at + 8] = (12_800 * 9000).to_bytes(4, "big")
    path.write_bytes(data)
    assert timeline(path).duration_s == pytest.approx(4.0, abs=0.05)

"""The time line of a film, read without decoding."""

from collections.abc import Callable
from pathlib import Path

import av
import pytest

from rayreel.media.keyframes import Timeline, read_timeline
from rayreel.media.open import Deadline
from rayreel.media.packets import film_in

FilmMaker = Callable[..., Path]


def timeline(path: Path) -> Timeline:
    with av.open(path) as container:
        read = read_timeline(film_in(container, Deadline(60)))
        assert read is not None and not container.streams.video[0].codec_context.is_open  # nothing was decoded
        return read


@pytest.mark.parametrize("bframes", [0, 3])
@pytest.mark.parametrize("name", ["film.mp4", "film.mov", "film.mkv", "film.avi", "film.ts", "film.flv"])
def test_keyframes_have_their_display_times_in_every_container(film: FilmMaker, name: str, bframes: int) -> None:
    read = timeline(film(name, frames=50, keyframe_every=10, bframes=bframes, tone_hz=None))
    assert read.keyframes_s == pytest.approx([0.0, 0.4, 0.8, 1.2, 1.6], abs=0.002)
    assert read.declared_s == pytest.approx(2.0, abs=0.1) and read.readable_s == pytest.approx(2.0, abs=0.05)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.avi"])
def test_a_whole_index_spares_reading_the_packets(film: FilmMaker, name: str) -> None:
    read = timeline(film(name, frames=50, keyframe_every=10, tone_hz=None))
    assert len(read.starts) == 5 and not read.samples


@pytest.mark.parametrize(("name", "movflags"), [("film.ts", ""), ("film.mp4", "frag_keyframe+empty_moov")])
def test_without_a_whole_index_all_packets_are_read(film: FilmMaker, name: str, movflags: str) -> None:
    read = timeline(film(name, frames=50, movflags=movflags))
    assert not read.starts and len(read.samples) == 50


def test_what_an_edit_list_cuts_off_lies_before_zero(film: FilmMaker) -> None:
    read = timeline(film(frames=50, keyframe_every=25, start_s=-0.5, tone_hz=None))
    assert read.keyframes_s == pytest.approx([-0.5, 0.5], abs=0.021) and read.declared_s == pytest.approx(1.5, abs=0.05)


def test_a_cut_file_is_readable_up_to_the_first_missing_packet(film: FilmMaker) -> None:
    path = film(frames=50, movflags="faststart", size=(320, 240), tone_hz=None)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    read = timeline(path)
    assert read.declared_s == pytest.approx(2.0) and 0.2 < read.readable_s < 1.8

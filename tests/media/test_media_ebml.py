"""The declared size of a Matroska file."""

from collections.abc import Callable
from pathlib import Path

from rayreel.media.scan import segment_end

FilmMaker = Callable[..., Path]


def test_a_finished_file_states_its_size(film: FilmMaker) -> None:
    data = film("film.mkv", frames=20).read_bytes()
    assert segment_end(data[:4096]) == len(data)


def test_a_live_file_and_other_formats_state_no_size(film: FilmMaker) -> None:
    assert segment_end(film("live.mkv", frames=20, live=True).read_bytes()[:4096]) is None
    for head in (b"", b"\0" * 100, b"\xff" * 100, b"RIFF....AVI LIST" * 9, film(frames=2).read_bytes()[:4096]):
        assert segment_end(head) is None

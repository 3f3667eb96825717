"""Fixtures of all tests."""

from collections.abc import Callable
from pathlib import Path

import pytest

from films import write_film

FilmMaker = Callable[..., Path]


@pytest.fixture
def film(tmp_path: Path) -> FilmMaker:
    """Make a film in the test's folder: `film("a.mp4", frames=10)`."""
    return lambda name="film.mp4", **options: write_film(tmp_path / name, **options)

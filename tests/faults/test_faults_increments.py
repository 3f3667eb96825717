"""Repeated extractions process only what has changed."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from films import write_film
from rayreel.catalog.read import read_catalog
from rayreel.cli.steps.extract import extract_features
from rayreel.features.extract import ExtractReport, TooManyFailures
from rayreel.settings import load_settings
from run import WEIGHTS, quarantine, rows

pytestmark = [pytest.mark.slow, pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]


def films(folder: Path) -> Path:
    """Six films and a text file."""
    folder.mkdir()
    for number in range(6):
        write_film(folder / f"{number}.mp4", frames=30 + number, tone_hz=None)
    (folder / "broken.mp4").write_text("no film")
    return folder


def extract(folder: Path, storage: Path, **options: Any) -> ExtractReport:  # noqa: ANN401
    settings = load_settings(None, [f"encoders.cache_dir={WEIGHTS}"], str(storage))
    return extract_features(settings, read_catalog(folder, settings.limits), **options)


def state(storage: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(storage.rglob("*.parquet"))}


@pytest.fixture(scope="module")
def first(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, ExtractReport]:
    """A folder with videos and a storage root, and the report of their extraction."""
    root = tmp_path_factory.mktemp("first")
    return root, extract(films(root / "videos"), root / "storage")


@pytest.fixture
def extracted(first: tuple[Path, ExtractReport], tmp_path: Path) -> Iterator[tuple[Path, Path]]:
    """The extracted videos, restored at the end, and a copy of their storage root."""
    root, _ = first
    shutil.copytree(root, tmp_path / "copy")
    yield root / "videos", tmp_path / "copy" / "storage"
    shutil.rmtree(root / "videos")
    shutil.copytree(tmp_path / "copy" / "videos", root / "videos")  # with their times of modification


def test_a_second_run_processes_only_changed_deleted_and_added_videos(
    first: tuple[Path, ExtractReport], extracted: tuple[Path, Path]
) -> None:
    folder, storage = extracted
    assert (first[1].extracted, first[1].reasons) == (6, {"unreadable": 1})

    before = state(storage)
    again = extract(folder, storage)
    assert (again.extracted, again.unchanged) == (0, 7)
    assert state(storage) == before

    write_film(folder / "0.mp4", frames=77, tone_hz=None)
    (folder / "1.mp4").unlink()
    write_film(folder / "new.mp4", frames=40, tone_hz=None)
    changed = extract(folder, storage)
    assert (changed.extracted, changed.unchanged) == (2, 5)


def test_quarantined_videos_are_retried_on_request(extracted: tuple[Path, Path]) -> None:
    folder, storage = extracted
    assert quarantine(storage) == {"broken": "unreadable"}
    kept = extract(folder, storage)
    assert (kept.extracted, kept.unchanged) == (0, 7)
    retried = extract(folder, storage, retry_quarantined=True)
    assert (retried.reasons, retried.unchanged) == ({"unreadable": 1}, 6)


def test_a_mass_failure_is_an_error_and_keeps_completed_rows(tmp_path: Path) -> None:
    folder = films(tmp_path / "videos")
    for number in range(4):
        (folder / f"bad{number}.mp4").write_text("no film")
    with pytest.raises(TooManyFailures, match="unreadable"):
        extract(folder, tmp_path / "storage", max_failures=1)
    tolerated = extract(folder, tmp_path / "storage", max_failures=5)
    assert len(rows(tmp_path / "storage")) == 6 and tolerated.rows == 11

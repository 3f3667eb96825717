"""Repeated extractions process only what has changed."""

from pathlib import Path
from typing import Any

import pytest

from films import write_film
from rayreel.catalog.read import read_catalog
from rayreel.cli.steps.extract import extract_features
from rayreel.features.extract import ExtractReport, TooManyFailures
from rayreel.settings import load_settings
from run import WEIGHTS, quarantine, rows

pytestmark = [pytest.mark.usefixtures("ray_cluster"), pytest.mark.timeout(600)]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
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


def test_a_second_run_processes_only_changed_deleted_and_added_videos(folder: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    first = extract(folder, storage)
    assert (first.extracted, first.reasons) == (6, {"unreadable": 1})

    before = state(storage)
    again = extract(folder, storage)
    assert (again.extracted, again.unchanged) == (0, 7)
    assert state(storage) == before

    write_film(folder / "0.mp4", frames=77, tone_hz=None)
    (folder / "1.mp4").unlink()
    write_film(folder / "new.mp4", frames=40, tone_hz=None)
    changed = extract(folder, storage)
    assert (changed.extracted, changed.unchanged) == (2, 5)


def test_quarantined_videos_are_retried_on_request(folder: Path, tmp_path: Path) -> None:
    storage = tmp_path / "storage"
    extract(folder, storage)
    assert quarantine(storage) == {"broken": "unreadable"}
    kept = extract(folder, storage)
    assert (kept.extracted, kept.unchanged) == (0, 7)
    retried = extract(folder, storage, retry_quarantined=True)
    assert (retried.reasons, retried.unchanged) == ({"unreadable": 1}, 6)


def test_a_mass_failure_is_an_error_and_keeps_completed_rows(folder: Path, tmp_path: Path) -> None:
    for number in range(4):
        (folder / f"bad{number}.mp4").write_text("no film")
    with pytest.raises(TooManyFailures, match="unreadable"):
        extract(folder, tmp_path / "storage", max_failures=1)
    tolerated = extract(folder, tmp_path / "storage", max_failures=5)
    assert len(rows(tmp_path / "storage")) == 6 and tolerated.rows == 11

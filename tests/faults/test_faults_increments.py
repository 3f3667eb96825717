"""Repeated extractions process only what has changed."""

from pathlib import Path

import pytest

from films import write_film
from run import Run, quarantine, rows

pytestmark = pytest.mark.timeout(600)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(6):
        write_film(folder / f"{number}.mp4", frames=30 + number, tone_hz=None)
    (folder / "broken.mp4").write_text("no film")
    return folder


def extract(folder: Path, storage: Path, ray_folder: str, *words: str, status: int = 0) -> Run:
    run = Run(folder, storage, ray_folder, *words)
    try:
        assert run.wait() == status, run.output()
    finally:
        run.end()
    return run


def state(storage: Path) -> dict[str, int]:
    return {str(path): path.stat().st_mtime_ns for path in sorted(storage.rglob("*.parquet"))}


def test_a_second_run_processes_only_changed_deleted_and_added_videos(
    folder: Path, tmp_path: Path, ray_folder: str
) -> None:
    storage = tmp_path / "storage"
    first = extract(folder, storage, ray_folder)
    assert (first.reported("extracted"), first.reported("quarantined: unreadable")) == (6, 1)

    before = state(storage)
    again = extract(folder, storage, ray_folder)
    assert (again.reported("extracted"), again.reported("unchanged")) == (0, 7)
    assert state(storage) == before

    write_film(folder / "0.mp4", frames=77, tone_hz=None)
    (folder / "1.mp4").unlink()
    write_film(folder / "new.mp4", frames=40, tone_hz=None)
    changed = extract(folder, storage, ray_folder)
    assert (changed.reported("extracted"), changed.reported("unchanged")) == (2, 5)


def test_quarantined_videos_are_retried_on_request(folder: Path, tmp_path: Path, ray_folder: str) -> None:
    storage = tmp_path / "storage"
    extract(folder, storage, ray_folder)
    assert quarantine(storage) == {"broken": "unreadable"}
    kept = extract(folder, storage, ray_folder)
    assert (kept.reported("extracted"), kept.reported("unchanged")) == (0, 7)
    retried = extract(folder, storage, ray_folder, "--retry-quarantined")
    assert (retried.reported("quarantined: unreadable"), retried.reported("unchanged")) == (1, 6)


def test_a_mass_failure_is_an_error_and_keeps_completed_rows(folder: Path, tmp_path: Path, ray_folder: str) -> None:
    for number in range(4):
        (folder / f"bad{number}.mp4").write_text("no film")
    failed = extract(folder, tmp_path / "storage", ray_folder, "--max-failures", "10%", status=1)
    assert "TooManyFailures" in failed.output() and "unreadable" in failed.output()
    tolerated = extract(folder, tmp_path / "storage", ray_folder, "--max-failures", "5")
    assert len(rows(tmp_path / "storage")) == 6 and tolerated.reported("rows in") == 11

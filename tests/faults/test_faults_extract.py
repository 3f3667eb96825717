"""Killed extractions: nothing is lost or duplicated, and the rows are identical."""

import time
from collections.abc import Callable
from pathlib import Path

import pyarrow as pa
import pytest

from processes import kill_marked
from rayreel.features.store import distinct
from run import Run, rows

pytestmark = pytest.mark.timeout(600)


def is_decode_worker(title: str) -> bool:
    return title.startswith("ray::") and "DecodeVideos" in title


def is_encoder_actor(title: str) -> bool:
    return title.startswith("ray::") and "EncodeVideos" in title


def is_ray(title: str) -> bool:
    return True


def settled(storage: Path) -> pa.Table:
    """Return distinct rows: a task that Ray retried may have written its rows twice."""
    return distinct(rows(storage))


@pytest.mark.slow
def test_a_killed_driver_continues_where_it_was(
    catalog: Path, undisturbed: pa.Table, tmp_path: Path, ray_folder: str
) -> None:
    first = Run(catalog, tmp_path / "storage", ray_folder)
    first.wait_until_written(files=3)
    first.end()
    kept = len(settled(tmp_path / "storage"))
    assert 0 < kept < len(undisturbed)
    second = Run(catalog, tmp_path / "storage", ray_folder)
    assert second.wait() == 0, second.output()
    second.end()
    assert settled(tmp_path / "storage").equals(undisturbed)
    assert second.reported("extracted") == len(undisturbed) - kept
    sums = second.reported("extracted") + second.reported("unchanged")
    quarantined = sum(int(line.split("│")[2]) for line in second.output().splitlines() if "quarantined:" in line)
    assert sums + quarantined == second.reported("rows in")


@pytest.mark.faults
@pytest.mark.parametrize(("victim", "files"), [(is_decode_worker, 0), (is_encoder_actor, 2)])
def test_a_killed_worker_is_replaced_and_its_rows_are_repeated(
    victim: Callable[[str], bool], files: int, catalog: Path, undisturbed: pa.Table, tmp_path: Path, ray_folder: str
) -> None:
    run = Run(catalog, tmp_path / "storage", ray_folder)
    try:
        run.wait_until_written(files)
        deadline = time.monotonic() + 60
        while not (killed := run.kill(victim)) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert killed, "no such process was found"
        assert run.wait() == 0, run.output()
    finally:
        run.end()
    assert settled(tmp_path / "storage").equals(undisturbed)
    assert run.reported("extracted") == len(undisturbed)


@pytest.mark.faults
def test_repeated_kills_of_everything_give_the_same_store(
    catalog: Path, undisturbed: pa.Table, tmp_path: Path, ray_folder: str
) -> None:
    for files in (1, 4, 7):
        run = Run(catalog, tmp_path / "storage", ray_folder)
        run.wait_until_written(files)
        kill_marked(ray_folder, is_ray)
        run.end()
    last = Run(catalog, tmp_path / "storage", ray_folder)
    assert last.wait() == 0, last.output()
    last.end()
    assert settled(tmp_path / "storage").equals(undisturbed)

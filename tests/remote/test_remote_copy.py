"""Copies from file systems other than HTTP."""

from pathlib import Path

import fsspec
import pytest

from rayreel.failures import Reason, Rejected
from rayreel.remote.bounds import Bounds
from rayreel.remote.config import ReadLimits
from rayreel.remote.copy import copy


@pytest.fixture
def film() -> str:
    with fsspec.open("memory://bucket/film.mp4", "wb") as file:
        file.write(b"film")
    return "memory://bucket/film.mp4"


def fetched(uri: str, path: Path, limits: ReadLimits, most: int = 100) -> bytes | Rejected:
    return copy(uri, path, limits, Bounds(most, "limits.max_bytes")) or path.read_bytes()


def test_api_clients_cannot_read_memory_urls(film: str, tmp_path: Path) -> None:
    assert fetched(film, tmp_path / "copy", ReadLimits()) == b"film"
    outcome = fetched(film, tmp_path / "copy", ReadLimits(from_outside=True))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.PATH_NOT_ALLOWED


@pytest.mark.parametrize(
    ("uri", "reason"),
    [
        ("memory://bucket/absent.mp4", Reason.MISSING_FILE),
        ("zip://film.mp4::memory://bucket/film.mp4", Reason.PATH_NOT_ALLOWED),
        ("simplecache://bucket/film.mp4", Reason.PATH_NOT_ALLOWED),
        ("http://127.0.0.1/film.mp4", Reason.PATH_NOT_ALLOWED),
        ("ftp://127.0.0.1/film.mp4", Reason.PATH_NOT_ALLOWED),
        ("s3://user:hunter2@bucket/film.mp4", Reason.PATH_NOT_ALLOWED),
        ("s3://not-listed/film.mp4", Reason.PATH_NOT_ALLOWED),
    ],
)
def test_a_rejection_has_a_reason_and_no_secret(film: str, tmp_path: Path, uri: str, reason: Reason) -> None:
    outcome = fetched(uri, tmp_path / "copy", ReadLimits(allowed_hosts=("127.0.0.1",)))
    assert isinstance(outcome, Rejected) and outcome.reason is reason and "hunter2" not in outcome.detail


def test_an_error_over_a_limit_names_its_setting(film: str, tmp_path: Path) -> None:
    outcome = fetched(film, tmp_path / "copy", ReadLimits(), most=3)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TOO_LARGE
    assert "limits.max_bytes" in outcome.detail

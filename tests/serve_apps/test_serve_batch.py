"""Catalogs that are added over HTTP."""

from pathlib import Path

from rayreel.failures import Reason, Rejected
from rayreel.media.fetch import local_copy
from rayreel.settings import load_settings
from serve_apps.batch import from_outside


def test_a_catalog_from_outside_names_no_local_file(tmp_path: Path) -> None:
    secret = tmp_path / "secret.mp4"
    secret.write_bytes(b"x")
    limits = load_settings(None, from_outside()[1::2]).limits
    with local_copy(str(secret), limits, limits.allowed_roots) as found:
        assert isinstance(found, Rejected) and found.reason is Reason.PATH_NOT_ALLOWED


def test_folders_that_are_meant_to_be_read_stay_readable(tmp_path: Path) -> None:
    (film := tmp_path / "film.mp4").write_bytes(b"x")
    limits = load_settings(None, [*from_outside()[1::2], f"limits.allowed_roots=[{tmp_path}]"]).limits
    with local_copy(str(film), limits, limits.allowed_roots) as found:
        assert found == film

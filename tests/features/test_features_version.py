import os
from pathlib import Path

import pytest

from rayreel.catalog.video import CatalogVideo
from rayreel.features.version import version_of


@pytest.fixture
def video(tmp_path: Path) -> CatalogVideo:
    file = tmp_path / "a.mp4"
    file.write_bytes(b"moving pictures")
    return CatalogVideo(video_id="a", uri=str(file), title="A")


def test_the_version_of_an_unchanged_video_is_stable(video: CatalogVideo) -> None:
    assert version_of(video) == version_of(video.model_copy())


def test_a_new_title_changes_the_version(video: CatalogVideo) -> None:
    assert version_of(video.model_copy(update={"title": "B"})) != version_of(video)


def test_a_longer_file_changes_the_version(video: CatalogVideo) -> None:
    before, stat = version_of(video), Path(video.uri).stat()
    Path(video.uri).write_bytes(b"moving pictures, and more")
    os.utime(video.uri, ns=(stat.st_atime_ns, stat.st_mtime_ns))
    assert version_of(video) != before


def test_rewriting_a_file_at_the_same_size_changes_the_version(video: CatalogVideo) -> None:
    before, stat = version_of(video), Path(video.uri).stat()
    Path(video.uri).write_bytes(b"moving_pictures")
    os.utime(video.uri, ns=(stat.st_atime_ns, stat.st_mtime_ns + 1))
    assert version_of(video) != before


def test_the_version_of_a_remote_video_depends_only_on_its_row() -> None:
    video = CatalogVideo(video_id="a", uri="s3://bucket/a.mp4")
    assert version_of(video) == version_of(video.model_copy())
    assert version_of(video.model_copy(update={"uri": "s3://bucket/b.mp4"})) != version_of(video)


def test_a_file_deleted_after_the_catalog_was_read_still_has_a_version(video: CatalogVideo) -> None:
    before = version_of(video)
    Path(video.uri).unlink()
    assert version_of(video) != before

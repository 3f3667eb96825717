from datetime import UTC, datetime
from pathlib import Path

import pytest

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.read import read_catalog
from rayreel.catalog.video import Video
from rayreel.catalog.write import write_catalog


def test_a_written_catalog_reads_as_the_same_videos(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.mp4"
    (inside := out / "clips" / "1.mp4").parent.mkdir(parents=True)
    for path in (inside, elsewhere):
        path.touch()
    videos = [
        Video(
            video_id="007",
            uri=str(inside),
            title='Red, "green"\nand blue # tag',
            category="1",
            tags=("x", "y z"),
            created_at=datetime(1995, 1, 1, tzinfo=UTC),
            extra={"source": "v_Archery_g01", "class_index": 3},
        ),
        Video(video_id="8", uri=str(elsewhere), extra={"source": "v_Archery_g02", "class_index": None}),
    ]
    catalog = read_catalog(write_catalog(videos, out))
    assert (catalog.videos, catalog.problems) == (videos, [])


def test_a_folder_that_holds_its_videos_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.mp4").touch()
    write_catalog([Video(video_id="1", uri=str(tmp_path / "out" / "1.mp4"))], tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert read_catalog(tmp_path / "moved" / "catalog.csv").videos[0].uri == str(tmp_path / "moved" / "1.mp4")


def test_a_tag_that_could_not_be_read_back_is_refused(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="stands between tags"):
        write_catalog([Video(video_id="1", uri="/1.mp4", tags=("a|b",))], tmp_path)

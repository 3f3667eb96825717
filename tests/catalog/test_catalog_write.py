import re
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.read import read_catalog
from rayreel.catalog.video import CatalogVideo
from rayreel.catalog.write import write_catalog
from steady import steady


def test_a_written_catalog_reads_back_as_the_same_videos(tmp_path: Path) -> None:
    out, elsewhere = tmp_path / "out", tmp_path / "elsewhere.mp4"
    (inside := out / "clips" / "1.mp4").parent.mkdir(parents=True)
    for path in (inside, elsewhere):
        path.touch()
    videos = [
        CatalogVideo(
            video_id="007",
            uri=str(inside),
            title='Red, "green"\nand blue # tag',
            category="1",
            tags=("x", "y z"),
            created_at=datetime(1995, 1, 1, tzinfo=UTC),
            extra={"source": "v_Archery_g01", "class_index": 3},
        ),
        CatalogVideo(video_id="8", uri=str(elsewhere), extra={"source": "v_Archery_g02", "class_index": None}),
    ]
    catalog = read_catalog(write_catalog(videos, out))
    assert (catalog.videos, catalog.problems) == (videos, [])


def test_a_folder_that_contains_its_videos_can_be_moved(tmp_path: Path) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "out" / "1.mp4").touch()
    write_catalog([CatalogVideo(video_id="1", uri=str(tmp_path / "out" / "1.mp4"))], tmp_path / "out")
    (tmp_path / "out").rename(tmp_path / "moved")
    assert read_catalog(tmp_path / "moved" / "catalog.csv").videos[0].uri == str(tmp_path / "moved" / "1.mp4")


WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), max_size=12).map(str.strip)
# Without ids of the form 1.0: if all have it, they are read as floats.
IDS = WORDS.filter(bool).filter(lambda word: not re.fullmatch(r"-?\d+\.0", word))
VIDEOS = st.builds(
    CatalogVideo,
    video_id=IDS,
    uri=st.just("s3://bucket/1.mp4"),
    title=WORDS,
    description=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=20).map(str.strip),
    category=WORDS,
    tags=st.lists(WORDS.filter(bool), max_size=4),
    created_at=st.none() | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1)),
)


@steady
@given(st.lists(VIDEOS, min_size=1, max_size=4, unique_by=lambda video: video.video_id))
def test_any_videos_read_back_as_written(videos: list[CatalogVideo]) -> None:
    with TemporaryDirectory() as folder:
        catalog = read_catalog(write_catalog(videos, Path(folder)))
    assert (catalog.videos, catalog.problems) == (videos, [])

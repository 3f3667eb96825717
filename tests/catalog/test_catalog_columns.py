from datetime import UTC, datetime, timedelta, timezone

import pyarrow as pa
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.columns import CATALOG, catalog_schema, texts_of, to_table, to_videos
from rayreel.catalog.video import CatalogVideo
from steady import steady

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
IDS = TEXT.filter(bool)
INTEGERS = st.integers(-(2**63), 2**63 - 1)
SCALARS = st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | TEXT
ZONES = st.integers(-23 * 60, 23 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
VIDEOS = st.builds(
    CatalogVideo,
    video_id=IDS,
    uri=TEXT.map(lambda name: f"s3://bucket/{name}.mp4"),
    title=TEXT,
    description=TEXT,
    category=TEXT,
    tags=st.lists(TEXT, max_size=4),
    created_at=st.none() | st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=ZONES),
    extra=st.dictionaries(TEXT, SCALARS, max_size=4),
)


def typed(video: CatalogVideo) -> list[tuple[object, ...]]:
    """The values of `extra` with their types: True == 1 == 1.0 in Python, and 0.0 == -0.0."""
    return sorted((name, type(value).__name__, repr(value)) for name, value in video.extra.items())


@steady
@given(st.lists(VIDEOS, max_size=4))
def test_any_videos_read_back_from_their_columns_exactly(videos: list[CatalogVideo]) -> None:
    table = to_table(videos)
    table.validate(full=True)
    back = to_videos(table.append_column("version", pa.array(["1"] * len(videos), pa.string())))
    assert back == videos
    assert [typed(video) for video in back] == [typed(video) for video in videos]
    assert [video.fingerprint() for video in back] == [video.fingerprint() for video in videos]


@steady
@given(st.lists(VIDEOS, max_size=4))
def test_the_text_for_encoders_is_the_same_from_columns(videos: list[CatalogVideo]) -> None:
    assert texts_of(to_table(videos)) == [video.text() for video in videos]


def test_a_date_keeps_its_microseconds_and_no_date_stays_none() -> None:
    moment = datetime(2024, 1, 31, 23, 59, 59, 123456, tzinfo=timezone(timedelta(hours=5, minutes=30)))
    videos = [CatalogVideo(video_id="a", uri="/a.mp4", created_at=moment), CatalogVideo(video_id="b", uri="/b.mp4")]
    table = to_table(videos)
    assert table["created_at"].to_pylist() == [datetime(2024, 1, 31, 18, 29, 59, 123456, tzinfo=UTC), None]
    assert [video.created_at for video in to_videos(table)] == [moment, None]


def test_the_columns_are_those_of_existing_feature_stores() -> None:
    assert (
        pa.schema(
            [
                ("video_id", pa.string()),
                ("uri", pa.string()),
                ("title", pa.string()),
                ("description", pa.string()),
                ("category", pa.string()),
                ("tags", pa.list_(pa.string())),
                ("created_at", pa.timestamp("us", tz="UTC")),
                ("extra", pa.string()),
            ]
        )
        == CATALOG
    )


def test_extra_columns_are_json_with_sorted_names() -> None:
    table = to_table([CatalogVideo(video_id="a", uri="/a.mp4", extra={"source": "é", "likes": 3})])
    assert table["extra"].to_pylist() == ['{"likes": 3, "source": "\\u00e9"}']


def test_a_new_field_is_a_column() -> None:
    class Dubbed(CatalogVideo):
        language: str = ""

    assert catalog_schema(Dubbed) == pa.schema([*CATALOG, ("language", pa.string())])

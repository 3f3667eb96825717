import json
from datetime import UTC, datetime

import pyarrow as pa

from feature_rows import DIMS
from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.features.schema import catalog_columns, feature_schema

VIDEO = CatalogVideo(
    video_id="a",
    uri="/films/a.mp4",
    title="A",
    tags="red|blue",
    created_at="2024-01-31T12:00:00Z",
    extra={"source": "x", "likes": 3},
)


def test_every_catalog_column_matches_the_schema_of_feature_rows() -> None:
    row = pa.Table.from_pylist([catalog_columns(VIDEO)], schema=feature_schema(DIMS)).to_pylist()[0]
    assert row["video_id"] == "a"
    assert row["tags"] == ["red", "blue"]
    assert row["created_at"] == datetime(2024, 1, 31, 12, tzinfo=UTC)
    assert set(catalog_columns(VIDEO)) <= set(feature_schema(DIMS).names)


def test_extra_columns_of_a_catalog_are_stored_as_json() -> None:
    assert json.loads(catalog_columns(VIDEO)["extra"]) == {"source": "x", "likes": 3}


def test_vectors_are_float16_with_the_width_of_their_encoder() -> None:
    for modality in Modality:
        assert feature_schema(DIMS).field(modality.value).type == pa.list_(pa.list_(pa.float16(), DIMS[modality]))

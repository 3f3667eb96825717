import pyarrow as pa

from feature_rows import DIMS
from rayreel.catalog.columns import CATALOG
from rayreel.encoders.encoder import Modality
from rayreel.features.schema import feature_schema


def test_feature_rows_begin_with_the_catalog_columns_and_their_version() -> None:
    assert feature_schema(DIMS).names[: len(CATALOG) + 1] == [*CATALOG.names, "version"]
    assert all(feature_schema(DIMS).field(field.name) == field for field in CATALOG)


def test_vectors_are_float16_with_the_width_of_their_encoder() -> None:
    for modality in Modality:
        assert feature_schema(DIMS).field(modality.value).type == pa.list_(pa.list_(pa.float16(), DIMS[modality]))

"""The Parquet schemas of feature rows and quarantine rows."""

import pyarrow as pa

from rayreel.catalog.columns import CATALOG
from rayreel.encoders.encoder import Modality

QUARANTINE = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("version", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
    ]
)

# The facts of a decoded file.
FILE = pa.schema(
    [
        ("content_hash", pa.string()),
        ("duration_s", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float32()),
        ("has_audio", pa.bool_()),
    ]
)


def feature_schema(dims: dict[Modality, int]) -> pa.Schema:
    """Return the schema of feature rows: one row per video, vectors in float16, null if a modality is absent.

    visual [n_frames, Dv] and audio [n_windows, Da] keep every vector, so that views and pooling can be chosen later.
    text is [1, Dt], not [Dt]: a Parquet file with a null among fixed-size lists cannot be read (apache/arrow#35692).
    """
    return pa.schema(
        [
            *CATALOG,
            ("version", pa.string()),
            *FILE,
            *((modality.value, pa.list_(pa.list_(pa.float16(), dims[modality]))) for modality in Modality),
            ("transcript", pa.string()),
            ("encoder_key", pa.string()),
        ]
    )

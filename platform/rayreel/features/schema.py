"""The Parquet schemas of feature rows and quarantine rows."""

import pyarrow as pa

from rayreel.catalog.columns import CATALOG
from rayreel.encoders.encoder import Modality

# The other columns of the catalog are null if the row itself is invalid, and in files from before they were kept.
QUARANTINE = pa.schema(
    [
        ("video_id", pa.string()),
        ("uri", pa.string()),
        ("version", pa.string()),
        ("stage", pa.string()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("at", pa.timestamp("us", tz="UTC")),
        *(field for field in CATALOG if field.name not in {"video_id", "uri"}),
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

# What speech recognition adds to a row. `speech` names how, and is null if speech was not recognised; the others are
# null if nothing is said.
SPOKEN = pa.schema(
    [
        ("transcript", pa.string()),
        ("spoken_language", pa.string()),
        (
            "segments",
            pa.list_(pa.struct([("start_s", pa.float32()), ("end_s", pa.float32()), ("text", pa.string())])),
        ),
        ("speech", pa.string()),
    ]
)

# What a language model has written about a video (`rayreel.enrichment`). `enrichment` names the model and the prompt,
# and is null if none was asked.
ENRICHED = pa.schema(
    [
        ("summary", pa.string()),
        ("topics", pa.list_(pa.string())),
        ("rewritten_title", pa.string()),
        ("enrichment", pa.string()),
    ]
)


def feature_schema(dims: dict[Modality, int]) -> pa.Schema:
    """Return the schema of feature rows: one row per video, vectors in float16, null if a modality is absent.

    visual [n_frames, Dv] and audio [n_windows, Da] keep every vector, so that views and pooling can be chosen later.
    text is [1 or 2, Dt], of what is written and of what is said. It is a list even of one, because a Parquet file with
    a null among fixed-size lists cannot be read (apache/arrow#35692).
    """
    return pa.schema(
        [
            *CATALOG,
            ("version", pa.string()),
            *FILE,
            *((modality.value, pa.list_(pa.list_(pa.float16(), dims[modality]))) for modality in Modality),
            *SPOKEN,
            *ENRICHED,
            ("encoder_key", pa.string()),
        ]
    )

"""A decoded and encoded video as a row of the feature store."""

import hashlib
from dataclasses import asdict

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.features.key import EncoderKey
from rayreel.features.schema import catalog_columns, feature_schema
from rayreel.media.clip import Clip


def feature_row(
    video: CatalogVideo, clip: Clip, vectors: dict[Modality, NDArray[np.float32]], key: EncoderKey
) -> pa.Table:
    """Return a table with one row, as extraction writes it. `vectors` are [n, D] per modality, without absent ones."""
    schema = feature_schema(key.dims)
    row = catalog_columns(video) | asdict(clip.facts)
    row |= {"version": version_of_content(video, clip), "content_hash": clip.content_hash}
    row |= {"transcript": None, "encoder_key": str(key)}
    scalar = [name for name in schema.names if name not in set(Modality)]
    table = pa.Table.from_pylist([row], schema=pa.schema([schema.field(name) for name in scalar]))
    for modality in Modality:
        field = schema.field(modality.value)
        table = table.append_column(field, _cell(vectors.get(modality), field.type))
    return table.select(schema.names)


def version_of_content(video: CatalogVideo, clip: Clip) -> str:
    """Return a digest of the catalog row and the file's content, 16 hex digits."""
    return hashlib.blake2b(f"{video.fingerprint()} {clip.content_hash}".encode(), digest_size=8).hexdigest()


def _cell(vectors: NDArray[np.float32] | None, type_: pa.DataType) -> pa.Array:
    if vectors is None or not len(vectors):
        return pa.nulls(1, type_)
    inner = pa.FixedSizeListArray.from_arrays(pa.array(vectors.astype(np.float16).ravel()), vectors.shape[1])
    return pa.ListArray.from_arrays(pa.array([0, len(vectors)], pa.int32()), inner).cast(type_)

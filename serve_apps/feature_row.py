"""A decoded and encoded video as a row of the feature store."""

import hashlib

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.catalog.video import CatalogVideo
from rayreel.encoders.encoder import Modality
from rayreel.features.encoding import encoded_rows
from rayreel.features.key import EncoderKey
from rayreel.features.rows import decoded_rows, todo_rows
from rayreel.features.schema import feature_schema
from rayreel.media.clip import Clip


def feature_row(
    video: CatalogVideo, clip: Clip, vectors: dict[Modality, NDArray[np.float32]], key: EncoderKey
) -> pa.Table:
    """Return a table with one row, as extraction writes it. `vectors` are [n, D] per modality, without absent ones."""
    todo = todo_rows([video], [version_of_content(video, clip)])
    found = {modality: vectors.get(modality, np.empty((0, dim), np.float32)) for modality, dim in key.dims.items()}
    counts = {modality: [len(values)] for modality, values in found.items()}
    return encoded_rows(decoded_rows(todo, [clip]), found, counts, key).select(feature_schema(key.dims).names)


def version_of_content(video: CatalogVideo, clip: Clip) -> str:
    """Return a digest of the catalog row and the file's content, 16 hex digits."""
    return hashlib.blake2b(f"{video.fingerprint()} {clip.content_hash}".encode(), digest_size=8).hexdigest()

"""Feature rows and embeddings joined to what the index holds."""

import json
from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayreel.features.matrix import FeatureMatrix
from rayreel.index.build import IndexRow


def index_rows(matrix: FeatureMatrix, embeddings_ND: NDArray[np.float32]) -> Iterator[IndexRow]:
    """One index row per video, in row order."""
    columns = [matrix.column(name) for name in ("video_id", "title", "category", "tags", "uri", "extra")]
    for video_id, title, category, tags, uri, extra, embedding in zip(*columns, embeddings_ND, strict=True):
        yield IndexRow(video_id, embedding, title, category, tuple(tags), uri, json.loads(extra))

"""Text columns as integer codes."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.training.pairs.sources import NONE


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """Return an integer code for each text [N], NONE for null and the empty text."""
    texts = column.combine_chunks()
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(texts, ""), None, texts))
    return np.asarray(encoded.indices.fill_null(NONE)).astype(np.int64)

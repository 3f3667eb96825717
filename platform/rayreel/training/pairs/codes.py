"""Text columns as numbers."""

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.training.pairs.sources import NONE


def codes_of(column: pa.ChunkedArray) -> NDArray[np.int64]:
    """[N]: a number for each distinct text, NONE for null and the empty text."""
    given = column.combine_chunks()
    encoded = pc.dictionary_encode(pc.if_else(pc.equal(given, ""), None, given))
    return np.asarray(encoded.indices.fill_null(NONE)).astype(np.int64)

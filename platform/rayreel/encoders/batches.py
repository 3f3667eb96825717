"""Run any number of inputs through a network that takes a fixed number per pass."""

from collections.abc import Iterable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Vectors
from rayreel.encoders.runtime import Inputs, Runtime


def encode_rows(inputs: NDArray[Any], runtime: Runtime, dim: int) -> Vectors:
    """Map [N, ...] to [N, dim]."""
    groups = [(np.arange(len(inputs)), (inputs,))]
    return encode_groups(groups, runtime, len(inputs), dim)


def encode_groups(groups: Iterable[tuple[NDArray[np.intp], Inputs]], runtime: Runtime, count: int, dim: int) -> Vectors:
    """Map groups of inputs to [count, dim]; a group is its output rows and arrays of equal shape."""
    batches = [batch for group in groups for batch in _batches(group, runtime.rows)]
    out_ND = np.empty((count, dim), dtype=np.float32)
    vectors = runtime.run(tuple(_padded(array, runtime.rows) for array in arrays) for _, arrays in batches)
    for (rows, _), vectors_BD in zip(batches, vectors, strict=True):
        out_ND[rows] = vectors_BD[: len(rows)]
    return out_ND


def _batches(group: tuple[NDArray[np.intp], Inputs], size: int) -> Iterator[tuple[NDArray[np.intp], Inputs]]:
    rows, arrays = group
    for start in range(0, len(rows), size):
        part = slice(start, start + size)
        yield rows[part], tuple(array[part] for array in arrays)


def _padded(array: NDArray[Any], rows: int) -> NDArray[Any]:
    """Repeat the last row rather than add zeros: a text without tokens has no mean."""
    missing = rows - len(array)
    return np.concatenate([array, np.repeat(array[-1:], missing, axis=0)]) if missing else array

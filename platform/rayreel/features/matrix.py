"""Feature rows as arrays, the input of training, evaluation and indexing."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality


@dataclass(frozen=True, slots=True)
class Ragged:
    """A different number of vectors per video: values float16 [sum, D]; video i owns rows offsets[i]:offsets[i+1]."""

    values: NDArray[np.float16]
    offsets: NDArray[np.int64]

    @property
    def counts(self) -> NDArray[np.int64]:
        """Vectors per video."""
        return np.diff(self.offsets)

    def padded(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.float16], NDArray[np.bool_]]:
        """Return values [len(rows), N, D] and mask [len(rows), N]; N is the largest count of these rows, at least 1."""
        counts = self.offsets[rows + 1] - self.offsets[rows]
        mask = np.arange(max(1, int(counts.max(initial=0)))) < counts[:, None]
        out = np.zeros((*mask.shape, self.values.shape[1]), dtype=np.float16)
        source = self.offsets[rows][:, None] + np.arange(mask.shape[1])
        out[mask] = self.values[source[mask]]
        return out, mask

    def of(self, rows: NDArray[np.int64]) -> NDArray[np.float16]:
        """Return all vectors of these videos, [sum, D], in the order of the matrix."""
        chosen = np.zeros(len(self.offsets) - 1, dtype=bool)
        chosen[rows] = True
        vectors: NDArray[np.float16] = self.values[np.repeat(chosen, self.counts)]
        return vectors


@dataclass(frozen=True, slots=True)
class FeatureMatrix:
    """All feature rows of a catalog: vectors by modality, and the catalog columns.

    >>> from rayreel.features.store import open_store
    >>> from rayreel.storage import Storage
    >>> storage = Storage("demo")
    >>> store = open_store(storage, storage.folders(storage.path("features"))[0])
    >>> matrix = FeatureMatrix.from_table(store.read())
    >>> len(matrix), matrix.vectors[Modality.VISUAL].values.shape  # three frames of each video
    (48, (144, 12))
    """

    vectors: dict[Modality, Ragged]
    rows: pa.Table

    def __len__(self) -> int:
        return int(self.rows.num_rows)

    def column(self, name: str) -> list[Any]:
        """Return one catalog column, in row order."""
        values: list[Any] = self.rows[name].to_pylist()
        return values

    def with_modalities(self, modalities: Collection[Modality]) -> "FeatureMatrix":
        """Return the same videos with the vectors of these modalities only."""
        empty = np.zeros(len(self) + 1, dtype=np.int64)
        vectors = {m: v if m in modalities else Ragged(v.values[:0], empty) for m, v in self.vectors.items()}
        return FeatureMatrix(vectors, self.rows)

    @staticmethod
    def from_table(table: pa.Table) -> "FeatureMatrix":
        """Build a matrix from feature rows, as returned by `FeatureStore.read`."""
        vectors = {modality: _ragged(table[modality.value]) for modality in Modality}
        return FeatureMatrix(vectors, table.drop_columns([modality.value for modality in Modality]))


def mean_pooled(ragged: Ragged) -> NDArray[np.float32]:
    """Return the mean vector of each video [N, D]; zero if the modality is absent."""
    sums = np.zeros((len(ragged.offsets) - 1, ragged.values.shape[1]), dtype=np.float32)
    np.add.at(sums, np.repeat(np.arange(len(sums)), ragged.counts), ragged.values.astype(np.float32))
    return sums / np.maximum(ragged.counts, 1).astype(np.float32)[:, None]


def _ragged(column: pa.ChunkedArray) -> Ragged:
    array = column.combine_chunks()
    counts = np.asarray(array.value_lengths().fill_null(0)).astype(np.int64)
    inner = array.flatten()
    values = np.asarray(inner.flatten(), dtype=np.float16).reshape(-1, inner.type.list_size)
    return Ragged(values, np.concatenate([[0], np.cumsum(counts)]))


def all_rows(count: int, batch: int) -> Sequence[NDArray[np.int64]]:
    """Return the row numbers 0 … count-1 in batches."""
    return [np.arange(start, min(start + batch, count)) for start in range(0, count, batch)]

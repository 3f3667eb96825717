"""Memory-mapped features: one uncompressed copy per machine on disk, shared by all its workers."""

import hashlib
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from filelock import FileLock
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix, Ragged
from rayreel.features.store import VERSIONS, FeatureStore

_ROWS_AT_ONCE = 512
_VECTORS = [modality.value for modality in Modality]


def map_features(store: FeatureStore, fingerprint: str, scratch: Path) -> FeatureMatrix:
    """Return the current catalog's features in order of video_id, equal to `FeatureMatrix.from_table(store.read())`.

    The first worker of a machine makes the copy; the others wait and map it. The copy is keyed by the store's
    fingerprint; copies of earlier states of the store are deleted.
    """
    place = hashlib.blake2b(store.features.encode(), digest_size=8).hexdigest()
    folder = scratch / place / fingerprint
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(scratch / f"{place}.lock"):
        if not folder.exists():
            _remove_old_copies(folder.parent)
            part = folder.with_suffix(".part")
            _copy(store, part)
            part.rename(folder)
    return _open(folder)


def _remove_old_copies(folder: Path) -> None:
    """Delete old copies. A worker that still maps one keeps its pages until it exits."""
    for old in folder.iterdir():
        shutil.rmtree(old)


def _copy(store: FeatureStore, folder: Path) -> None:
    """Copy the store in two passes, a few hundred rows at a time: first the vector counts, then the vectors."""
    folder.mkdir()
    rows = store.read([name for name in store.schema.names if name not in _VECTORS])
    index = _RowIndex(pd.MultiIndex.from_frame(rows.select(VERSIONS.names).to_pandas()))
    counts = {modality: np.zeros(len(rows), dtype=np.int64) for modality in Modality}
    for chunk in index.chunks(store):
        for modality, ragged in chunk.vectors.items():
            counts[modality][chunk.rows] = ragged.counts[chunk.kept]
    _write_rows(rows, folder / "rows.arrow")
    offsets = {modality: np.concatenate([[0], np.cumsum(counts[modality])]) for modality in Modality}
    outs = {m: _create(folder, m, offsets[m], store.key.dims[m]) for m in Modality}
    for chunk in index.chunks(store):
        for modality, ragged in chunk.vectors.items():
            target = _flat(offsets[modality], chunk.rows)
            outs[modality][target] = ragged.values[_flat(ragged.offsets, chunk.kept)]


@dataclass(frozen=True, slots=True)
class _Chunk:
    """A few rows of a file. Its rows `kept` are the `rows` of the matrix; `vectors` also has the others."""

    vectors: dict[Modality, Ragged]
    kept: NDArray[np.int64]
    rows: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class _RowIndex:
    """Maps (video_id, version) to the row of the matrix."""

    index: pd.MultiIndex

    def chunks(self, store: FeatureStore) -> Iterator[_Chunk]:
        """Yield all current rows of the store; the first of duplicate rows is used."""
        missing = np.ones(len(self.index), dtype=bool)
        for path in store.storage.files(store.features, ".parquet"):
            # Without these two options Arrow would hold the whole file in memory.
            file = pq.ParquetFile(path, filesystem=store.storage.filesystem, pre_buffer=False, buffer_size=1 << 20)
            for batch in file.iter_batches(_ROWS_AT_ONCE, columns=[*VERSIONS.names, *_VECTORS]):
                table = pa.Table.from_batches([batch])
                found = self.index.get_indexer(pd.MultiIndex.from_frame(table.select(VERSIONS.names).to_pandas()))
                first = np.zeros(len(found), dtype=bool)
                first[np.unique(found, return_index=True)[1]] = True
                kept = np.flatnonzero((found >= 0) & first & missing[found])
                missing[found[kept]] = False
                yield _Chunk(FeatureMatrix.from_table(table).vectors, kept, found[kept].astype(np.int64))


def _flat(offsets: NDArray[np.int64], rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Positions of the vectors of these rows, row by row."""
    counts = offsets[rows + 1] - offsets[rows]
    starts = np.repeat(offsets[rows] - np.cumsum(counts) + counts, counts)
    return starts + np.arange(counts.sum())


def _create(folder: Path, modality: Modality, offsets: NDArray[np.int64], dim: int) -> NDArray[np.float16]:
    np.save(folder / f"{modality.value}.offsets.npy", offsets)
    # An empty file cannot be mapped, so a modality without vectors gets one unused row.
    shape = (max(1, int(offsets[-1])), dim)
    return np.lib.format.open_memmap(folder / f"{modality.value}.npy", mode="w+", dtype=np.float16, shape=shape)


def _write_rows(rows: pa.Table, path: Path) -> None:
    with pa.OSFile(str(path), "wb") as file, pa.ipc.new_file(file, rows.schema) as out:
        out.write_table(rows)


def _open(folder: Path) -> FeatureMatrix:
    vectors = {}
    for modality in Modality:
        values = np.load(folder / f"{modality.value}.npy", mmap_mode="r")
        offsets = np.load(folder / f"{modality.value}.offsets.npy")
        vectors[modality] = Ragged(values[: offsets[-1]], offsets)
    return FeatureMatrix(vectors, pa.ipc.open_file(pa.memory_map(str(folder / "rows.arrow"))).read_all())

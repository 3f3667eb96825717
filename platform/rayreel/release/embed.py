"""Feature rows to release rows: embeddings of every video, and of each of its modalities alone."""

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import ray.data
import torch
from numpy.typing import NDArray

from rayreel.compat.ray_data import pass_by_value
from rayreel.durable import StorageFull
from rayreel.features.capacity import GPUS_PER_ENCODER, cores
from rayreel.features.compact import ROWS_PER_FILE
from rayreel.features.matrix import FeatureMatrix, mean_pooled
from rayreel.features.store import VERSIONS, FeatureStore, distinct
from rayreel.features.texts import enriched_texts
from rayreel.placement import free_gpus, table_on
from rayreel.release.config import ReleaseConfig
from rayreel.release.rows import PART_COLUMNS, ROWS, SPACE_COLUMNS, ReleaseRows, tombstones
from rayreel.tower.embed import embed
from rayreel.tower.embedder import Embedder

# Up to this many videos are embedded in this process, which is faster than starting actors.
FEW = 1000
# Compaction may delete files while they are read. Their rows are in other files on the next attempt.
ATTEMPTS = 3
WORK = pa.schema([("path", pa.string()), ("video_id", pa.list_(pa.string())), ("version", pa.list_(pa.string()))])


class Embedded(NamedTuple):
    """Numbers of videos: embedded now, deleted from the release, and without any modality that the tower reads."""

    embedded: int
    deleted: int
    blind: int


@dataclass(frozen=True, slots=True)
class StoreDifference:
    """How a release's rows differ from the feature store. Read once and handed on to all that need it.

    wanted, present: the version of every video of the store and of the release, by video_id. encoder_keys: those of the
    store's rows.
    """

    wanted: dict[str, str]
    present: dict[str, str]
    encoder_keys: frozenset[str]

    @property
    def missing(self) -> set[tuple[str, str]]:
        """(video_id, version) pairs that only the store has."""
        return {(name, version) for name, version in self.wanted.items() if self.present.get(name) != version}

    @property
    def surplus(self) -> set[str]:
        """Ids that only the release has."""
        return self.present.keys() - self.wanted.keys()

    def after(self, rows: ReleaseRows) -> "StoreDifference":
        """Return how the rows differ now from the same reading of the store."""
        return replace(self, present=rows.current())


def embed_table(tower: Embedder, features: pa.Table) -> pa.Table:
    """Convert feature rows to release rows (ROWS), without videos that have no modality that the tower reads."""
    if not features.num_rows:
        return ROWS.empty_table()
    matrix = FeatureMatrix.from_table(features)
    whole_ND = embed(tower, matrix)
    columns = {name: features[name] for name in ROWS.names if name in features.column_names}
    columns["deleted"] = pa.array(np.zeros(len(matrix), bool))
    columns["embedding"] = _lists(whole_ND)
    columns |= {name: pa.nulls(len(matrix), ROWS.field(name).type) for name in ("own", "nearest")}
    for modality, name in PART_COLUMNS.items():
        columns[name] = _lists(embed(tower, matrix.with_modalities([modality])).astype(np.float16))
    for modality, name in SPACE_COLUMNS.items():
        present_N = matrix.vectors[modality].counts > 0
        columns[name] = _lists(mean_pooled(matrix.vectors[modality]).astype(np.float16), present_N)
    columns["text"] = _text(features)
    columns["created_at"] = pc.divide(features["created_at"].cast(pa.int64()).cast(pa.float64()), 1e6)
    rows = pa.table([columns[name] for name in ROWS.names], names=ROWS.names).cast(ROWS)
    return rows.filter(pc.is_valid(rows["embedding"]))


def embed_with(
    tower: Embedder,
    store: FeatureStore,
    rows: ReleaseRows,
    progress: Callable[[int], None] = lambda _: None,
    *,
    config: ReleaseConfig = ReleaseConfig(),  # noqa: B008 - frozen
    found: StoreDifference | None = None,
) -> Embedded:
    """Bring rows up to date with the store: new and changed videos are embedded, gone ones deleted.

    `progress` receives the number of videos done; `config` selects the nodes of a cluster; `found` is a comparison of
    store and rows that has been made already. After a kill, the next call continues from there. More than FEW videos
    need a running Ray. Raises NoFeatures when the store is empty, and StorageFull; rows written before that are kept.
    """
    done = seen = 0
    found = found or compare(store, rows)
    for attempt in range(ATTEMPTS):
        if attempt:
            found = compare(store, rows)
        missing = found.missing
        for report in _embed(tower, store, rows, missing, config):
            if report["storage_full"]:
                raise StorageFull(report["storage_full"])
            done, seen = done + report["videos"], seen + report["seen"]
            progress(done)
        if done >= len(missing):
            break
    if found.surplus:
        rows.add(tombstones(sorted(found.surplus)))
    return Embedded(seen, len(found.surplus), done - seen)


def compare(store: FeatureStore, rows: ReleaseRows) -> StoreDifference:
    """Compare a release's rows with the store's current features. Raises NoFeatures when the store is empty."""
    current = store.read([*VERSIONS.names, "encoder_key"])
    wanted = dict(zip(*(current[name].to_pylist() for name in VERSIONS.names), strict=True))
    return StoreDifference(wanted, rows.current(), frozenset(current["encoder_key"].to_pylist()))


@dataclass(frozen=True, slots=True)
class ReadFeatures:
    """Maps rows of WORK to the feature rows that they name."""

    store: FeatureStore

    def __call__(self, work: pa.Table) -> pa.Table:
        """Read the feature rows. Files that no longer exist are skipped."""
        return pa.concat_tables([self.store.schema.empty_table(), *map(self._read, work.to_pylist())])

    def _read(self, item: dict[str, object]) -> pa.Table:
        try:
            table = self.store.table(str(item["path"]), list(self.store.schema.names))
        except FileNotFoundError:
            return self.store.schema.empty_table()
        wanted = set(zip(item["video_id"], item["version"], strict=True))  # type: ignore[call-overload]
        return distinct(table.filter(_among(table, wanted))).cast(self.store.schema)


class EmbedVideos:
    """Embeds blocks of feature rows and writes their release rows; returns one row of counts per block."""

    def __init__(self, tower: Embedder, rows: ReleaseRows, *, on_gpu: bool = False) -> None:
        self.tower = tower.to("cuda" if on_gpu and torch.cuda.is_available() else "cpu")
        self.rows = rows

    def __call__(self, features: pa.Table) -> pa.Table:
        """Embed and write a block. If the disk is full, `storage_full` holds the message of the StorageFull."""
        found, full = embed_table(self.tower, features), ""
        try:
            if found.num_rows:
                self.rows.add(found)
        except StorageFull as error:
            full = str(error)
        return pa.table({"videos": [features.num_rows], "seen": [found.num_rows], "storage_full": [full]})


def _embed(
    tower: Embedder, store: FeatureStore, rows: ReleaseRows, missing: set[tuple[str, str]], config: ReleaseConfig
) -> Iterator[dict[str, Any]]:
    work = pa.Table.from_pylist(list(_work(store, missing)), schema=WORK)
    read = ReadFeatures(store)
    if len(missing) <= FEW:
        embed_block = EmbedVideos(tower, rows)
        blocks: Iterable[pa.Table] = (embed_block(read(work.slice(row, 1))) for row in range(work.num_rows))
    else:
        blocks = _dataset(work, read, tower, rows, config).iter_batches(batch_size=None, batch_format="pyarrow")
    for block in blocks:
        yield from block.to_pylist()


def _dataset(
    work: pa.Table, read: ReadFeatures, tower: Embedder, rows: ReleaseRows, config: ReleaseConfig
) -> ray.data.Dataset:
    pass_by_value()
    # Of the free GPUs: embedding is short, and must not wait for those that serving or a training holds.
    gpus = int(free_gpus() / GPUS_PER_ENCODER)
    return (
        table_on(config.read_on, work, work.num_rows)
        .map_batches(read, batch_size=None, batch_format="pyarrow", num_cpus=0.5, label_selector=config.read_on or None)
        .map_batches(
            EmbedVideos,
            # Ray hides no GPU from actors without one.
            fn_constructor_kwargs={"tower": tower, "rows": rows, "on_gpu": gpus > 0},
            # A file as it comes, which Ray Data refuses where there are GPUs: a file's rows, then.
            batch_size=ROWS_PER_FILE if gpus else None,
            batch_format="pyarrow",
            compute=ray.data.ActorPoolStrategy(size=gpus or max(1, min(work.num_rows, cores() // 2))),
            num_cpus=1,
            num_gpus=GPUS_PER_ENCODER if gpus else 0,
            label_selector=config.embed_on or None,
        )
    )


def _work(store: FeatureStore, missing: set[tuple[str, str]]) -> Iterator[dict[str, object]]:
    """Which files hold which of the missing rows; a row that two files hold is taken from the first."""
    left = set(missing)
    for path in store.storage.files(store.features, ".parquet"):
        if not left:
            return
        try:
            table = store.table(path, list(VERSIONS.names))
        except FileNotFoundError:  # compacted since the folder was listed: the next attempt finds the rows
            continue
        found = left.intersection(zip(*(table[name].to_pylist() for name in VERSIONS.names), strict=True))
        left -= found
        if found:
            yield {"path": path, "video_id": [pair[0] for pair in found], "version": [pair[1] for pair in found]}


def _among(table: pa.Table, pairs: set[tuple[str, str]]) -> pa.Array:
    ids, versions = (table[name].to_pylist() for name in VERSIONS.names)
    return pa.array([pair in pairs for pair in zip(ids, versions, strict=True)], pa.bool_())


def _text(features: pa.Table) -> pa.ChunkedArray:
    """What a search by words reads: what is written about a video and what is said in it."""
    parts = [features[name].fill_null("") for name in ("title", "description", "transcript")]
    parts.append(pa.chunked_array([enriched_texts(features)], pa.string()))
    return pc.utf8_trim_whitespace(pc.binary_join_element_wise(*parts, "\n"))


def _lists(values_ND: NDArray[np.floating], present_N: NDArray[np.bool_] | None = None) -> pa.ListArray:
    """Return one list per row, null where `present_N` is false.

    By default, it is false for zero rows, which the tower returns if it reads no modality of the video.
    """
    has_N = np.asarray(values_ND.any(axis=1)) if present_N is None else present_N
    offsets = np.concatenate([[0], np.cumsum(has_N) * values_ND.shape[1]]).astype(np.int32)
    return pa.ListArray.from_arrays(offsets, pa.array(values_ND[has_N].ravel()), mask=pa.array(~has_N))

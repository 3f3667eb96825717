"""Compaction: merge many small files of a store into few large ones with the same rows."""

from contextlib import suppress

import pyarrow as pa
import pyarrow.parquet as pq
import ray

from rayreel.features.store import FeatureStore, distinct
from rayreel.placement import NodeLabels

# 2,000 rows of the laptop preset are about 50 MB: large enough to list and read fast, small enough for memory.
ROWS_PER_FILE = 2000


def compact(store: FeatureStore, rows_per_file: int = ROWS_PER_FILE, on: NodeLabels | None = None) -> int:
    """Merge files of at most half of `rows_per_file` rows into files of about that size; returns how many were merged.

    If the process is killed, or another one merges the same files, nothing is lost: a merged file exists before its
    sources are deleted, and readers ignore duplicate rows. Each merge is a Ray task, on nodes with the labels `on`, if
    given.
    """
    merges = [
        ray.remote(_merge).options(label_selector=on or None).remote(store, folder, group)
        for folder in (store.features, store.quarantine)
        for group in _groups(store, folder, rows_per_file)
    ]
    return sum(ray.get(merges))


def _groups(store: FeatureStore, folder: str, rows_per_file: int) -> list[list[str]]:
    """Groups of at least two small files with together about `rows_per_file` rows."""
    groups: list[list[str]] = []
    room = 0
    for path in store.storage.files(folder, ".parquet"):
        try:
            rows = pq.read_metadata(path, filesystem=store.storage.filesystem).num_rows
        except FileNotFoundError:
            continue
        if rows * 2 > rows_per_file:
            continue
        if room < rows:
            groups.append([])
            room = rows_per_file
        groups[-1].append(path)
        room -= rows
    return [group for group in groups if len(group) > 1]


def _merge(store: FeatureStore, folder: str, paths: list[str]) -> int:
    try:
        rows = pa.concat_tables(store.table(path) for path in paths)
    except FileNotFoundError:
        return 0
    if folder == store.quarantine:  # keep the latest of several entries for a video
        rows = rows.sort_by([("at", "descending")])
    store.write_part(folder, distinct(rows))
    for path in paths:
        with suppress(FileNotFoundError):
            store.storage.filesystem.delete_file(path)
    return len(paths)

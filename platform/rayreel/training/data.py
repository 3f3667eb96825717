"""Open a worker's features: in its own memory, or memory-mapped from one copy per machine."""

import os
import tempfile
from pathlib import Path

import pyarrow.parquet as pq

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.training.config import Ingest, TrainConfig
from rayreel.training.mapped import map_features

_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# While Parquet is read, up to three copies of the features are in memory, and training needs memory as well.
_MEMORY_SHARE = 1 / 8


def open_features(store: FeatureStore, fingerprint: str, config: TrainConfig, workers: int = 1) -> FeatureMatrix:
    """Return the current catalog's features in order of video_id, in memory or memory-mapped.

    `fingerprint` is the store's; `workers` share this machine's memory. Ray Data is not used: pairs need random
    access to rows, and a restart needs the same order; its shuffled streams provide neither.
    """
    if config.ingest is Ingest.MEMORY or (config.ingest is Ingest.AUTO and fits(store, workers)):
        return FeatureMatrix.from_table(store.read())
    return map_features(store, fingerprint, config.scratch or default_scratch())


def fits(store: FeatureStore, workers: int, memory: int | None = None) -> bool:
    """Return whether every worker can hold all features in `memory` bytes; unset: this machine's memory."""
    return size_of(store) * workers <= (machine_memory() if memory is None else memory) * _MEMORY_SHARE


def size_of(store: FeatureStore) -> int:
    """Return the decoded size of all vectors in the store's files, in bytes."""
    names = {modality.value for modality in Modality}
    total = 0
    for path in store.storage.files(store.features, ".parquet"):
        metadata = pq.read_metadata(path, filesystem=store.storage.filesystem)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        columns = (group.column(place) for group in groups for place in range(group.num_columns))
        total += sum(c.total_uncompressed_size for c in columns if c.path_in_schema.partition(".")[0] in names)
    return total


def machine_memory() -> int:
    """Return the memory limit of this machine or container, in bytes."""
    limits = [path.read_text().strip() for path in _CGROUP_LIMITS if path.exists()]
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def default_scratch() -> Path:
    """Return a folder for this user below the system's temporary folder."""
    return Path(tempfile.gettempdir()) / f"rayreel-{os.getuid()}"

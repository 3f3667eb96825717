"""Where a worker's features come from: its own memory, or one copy on the machine's disk."""

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
# Reading Parquet holds features up to three times for a moment, and training needs memory too.
_SHARE = 1 / 8


def open_features(store: FeatureStore, fingerprint: str, config: TrainConfig, workers: int = 1) -> FeatureMatrix:
    """The current catalog's features in order of video_id, whichever way they come.

    `fingerprint` is the store's; `workers` share this machine's memory. Ray Data is left out on purpose: pairs need
    any row at any time, and a restart the same order; its shuffled streams give neither.
    """
    if config.ingest is Ingest.MEMORY or (config.ingest is Ingest.AUTO and fits(store, workers)):
        return FeatureMatrix.from_table(store.read())
    return map_features(store, fingerprint, config.scratch or default_scratch())


def fits(store: FeatureStore, workers: int, memory: int | None = None) -> bool:
    """Whether each of so many workers can hold all features in `memory` bytes, unset: this machine's."""
    return size_of(store) * workers <= (machine_memory() if memory is None else memory) * _SHARE


def size_of(store: FeatureStore) -> int:
    """Bytes of all vectors in the store's files, decoded."""
    names = {modality.value for modality in Modality}
    total = 0
    for path in store.storage.files(store.features, ".parquet"):
        metadata = pq.read_metadata(path, filesystem=store.storage.filesystem)
        groups = (metadata.row_group(number) for number in range(metadata.num_row_groups))
        columns = (group.column(place) for group in groups for place in range(group.num_columns))
        total += sum(c.total_uncompressed_size for c in columns if c.path_in_schema.partition(".")[0] in names)
    return total


def machine_memory() -> int:
    """Bytes that this machine, or the container it is, may use."""
    limits = [path.read_text().strip() for path in _CGROUP_LIMITS if path.exists()]
    physical = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    return min([physical, *(int(limit) for limit in limits if limit.isdecimal())])


def default_scratch() -> Path:
    """A folder of this user's below the system's temporary one."""
    return Path(tempfile.gettempdir()) / f"rayreel-{os.getuid()}"

"""A training job: its description, sent to every worker, and the data each worker prepares from it."""

import os
import tempfile
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.splits import Split
from rayreel.evaluation.users import before_cuts
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import FrozenConfig, TowerConfig
from rayreel.tower.losses.config import LossConfig
from rayreel.training.config import Ingest, TrainConfig
from rayreel.training.mapped import map_features
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import Validation, validation

_MIN_VIDEOS = 8
_CGROUP_LIMITS = (Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory/memory.limit_in_bytes"))
# While Parquet is read, up to three copies of the features are in memory, and training needs memory as well.
_MEMORY_SHARE = 1 / 8


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Complete description of a run, sent to every worker. `features` is the store's fingerprint.

    With `refit`, the run trains on validation videos too, for this number of epochs and without validation.
    `behaviour`: the log of the interactions with what was not watched, only if the pairs need it. `words`: see
    `rayreel.training.words`.
    """

    storage: str
    key: EncoderKey
    features: str
    tower: TowerConfig = field(default_factory=TowerConfig)
    train: TrainConfig = field(default_factory=TrainConfig)
    splits: SplitConfig = field(default_factory=SplitConfig)
    loss: LossConfig = field(default_factory=LossConfig)
    pairs: PairsConfig = field(default_factory=PairsConfig)
    evaluation: EvaluationConfig = field(default_factory=EvaluationConfig)
    interactions: pa.Table | None = None
    refit: int | None = None
    frozen: FrozenConfig = field(default_factory=FrozenConfig)
    words: dict[Modality, NDArray[np.float32]] = field(default_factory=dict)
    behaviour: pa.Table | None = None


@dataclass(frozen=True, slots=True)
class Prepared:
    """The data of a run: features, split, pair plan and validation task."""

    matrix: FeatureMatrix
    split: Split
    plan: PairPlan
    validation: Validation


def prepare(job: TrainJob, workers_here: int = 1) -> Prepared:
    """Prepare the data of a job, identically on every worker; `workers_here` share this machine's memory.

    Raises RayreelError if training cannot start: too few videos, no validation task, or a pair source without pairs.
    """
    store = FeatureStore(Storage(job.storage), job.key)
    matrix = open_features(store, job.features, job.train, workers_here).with_modalities(job.tower.modalities)
    exam = Exam.of(matrix, job.splits, job.evaluation, job.interactions, max_videos=job.train.validation_videos)
    if len(exam.split.train) < _MIN_VIDEOS:
        raise RayreelError(
            f"Only {len(exam.split.train)} of {len(matrix)} videos in the feature store are for training; at least "
            f"{_MIN_VIDEOS} are needed. Extract more videos, or hold out fewer with --set splits.test=0.1."
        )
    split = exam.split if job.refit is None else _with_validation(exam.split)
    plan = PairPlan.of(
        matrix,
        split.train,
        job.pairs,
        None if exam.users is None else exam.users.training,
        _known_behaviour(job, exam),
        labels_matter=job.loss.kind == "supcon",
    )
    selection = validation(exam, job.train.select, job.pairs)
    # Arrow keeps memory from reading for reuse; for a million videos that is more than training itself needs.
    pa.default_memory_pool().release_unused()
    return Prepared(matrix, split, plan, selection)


def _known_behaviour(job: TrainJob, exam: Exam) -> pa.Table | None:
    if job.behaviour is None or job.interactions is None or exam.users is None:
        return None
    return before_cuts(job.behaviour, job.interactions, exam.users, job.splits)


def _with_validation(split: Split) -> Split:
    return replace(split, train=np.union1d(split.train, split.validation))


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

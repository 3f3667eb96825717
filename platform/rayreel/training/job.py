"""A training job: its description, sent to every worker, and the data each worker prepares from it."""

from dataclasses import dataclass, field

import pyarrow as pa

from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.splits import Split
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig
from rayreel.tower.losses.config import LossConfig
from rayreel.training.config import TrainConfig
from rayreel.training.data import open_features
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import Validation, validation

_MIN_VIDEOS = 8


@dataclass(frozen=True, slots=True)
class TrainJob:
    """Complete description of a run, sent to every worker. `features` is the store's fingerprint."""

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
    plan = PairPlan.of(
        matrix,
        exam.split.train,
        job.pairs,
        None if exam.users is None else exam.users.training,
        labels_matter=job.loss.kind == "supcon",
    )
    selection = validation(exam, job.train.select, job.pairs)
    # Arrow keeps memory from reading for reuse; for a million videos that is more than training itself needs.
    pa.default_memory_pool().release_unused()
    return Prepared(matrix, exam.split, plan, selection)

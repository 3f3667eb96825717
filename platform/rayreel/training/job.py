"""A training job: what a worker is told, and what it makes of that before the first step."""

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

_FEWEST = 8


@dataclass(frozen=True, slots=True)
class TrainJob:
    """All that a worker needs to know; travels to every worker. `features` is the store's fingerprint."""

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
    """The data of a run: features, what is for training, where pairs come from, and what an epoch is judged by."""

    matrix: FeatureMatrix
    split: Split
    plan: PairPlan
    validation: Validation


def prepare(job: TrainJob, workers_here: int = 1) -> Prepared:
    """Open the data of a job, the same on every worker, of which so many share this machine.

    Raises RayreelError for whatever training could not start with: too few videos, nothing to select an epoch by, a
    pair source with nothing to pair.
    """
    store = FeatureStore(Storage(job.storage), job.key)
    matrix = open_features(store, job.features, job.train, workers_here).showing(job.tower.modalities)
    exam = Exam.of(matrix, job.splits, job.evaluation, job.interactions, most=job.train.validation_videos)
    if len(exam.split.train) < _FEWEST:
        raise RayreelError(
            f"{len(exam.split.train)} videos for training, of {len(matrix)} in the feature store; at least {_FEWEST} "
            "are needed. Extract more videos, or hold out less: --set splits.test=0.1"
        )
    plan = PairPlan.of(
        matrix,
        exam.split.train,
        job.pairs,
        None if exam.users is None else exam.users.training,
        labels_matter=job.loss.kind == "supcon",
    )
    judged = validation(exam, job.train.select, job.pairs)
    # What reading took stays with Arrow for its next read; of a million videos that is more than training itself takes.
    pa.default_memory_pool().release_unused()
    return Prepared(matrix, exam.split, plan, judged)

"""A training job: what a worker is told, and what it makes of that before the first step."""

from dataclasses import dataclass, field

import pyarrow as pa

from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig
from rayreel.evaluation.splits import Split, SplitConfig, groups_of, split_groups
from rayreel.features.key import EncoderKey
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.losses.config import LossConfig
from rayreel.tower.tower import TowerConfig
from rayreel.training.config import TrainConfig
from rayreel.training.data import open_features
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.plan import PairPlan
from rayreel.training.validation import Validation, seen_by_validation, user_split, validation

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
    groups = groups_of(matrix, job.splits)
    split = split_groups(groups, job.splits)
    if len(split.train) < _FEWEST:
        raise RayreelError(
            f"{len(split.train)} videos for training, of {len(matrix)} in the feature store; at least {_FEWEST} are "
            "needed. Extract more videos, or hold out less: --set splits.test=0.1"
        )
    users = user_split(job.interactions, matrix, split, job.splits)
    plan = PairPlan.of(
        matrix,
        split.train,
        job.pairs,
        None if users is None else users.training,
        labels_matter=job.loss.kind == "supcon",
    )
    seen = seen_by_validation(matrix, split, groups, users, most=job.train.validation_videos)
    return Prepared(matrix, split, plan, validation(seen, job.train.select, job.pairs, job.evaluation))

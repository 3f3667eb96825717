"""A release without training: frozen features, standardised by the training videos."""

import logging
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.evaluation.exam import Exam
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.embed import embed
from rayreel.tower.frozen import FrozenFeatures
from rayreel.training.inputs import fit_inputs
from rayreel.training.job import TrainJob, open_features
from rayreel.training.validation import NothingToSelectBy, validation

log = logging.getLogger(__name__)

# The mean of a single video is that video: standardised, nothing would be left of it.
_MIN_VIDEOS = 2


@dataclass(frozen=True, slots=True)
class FittedFeatures:
    """Fitted frozen features, and their validation metrics; empty if the data have no validation task."""

    tower: FrozenFeatures
    metrics: dict[str, float]


def fit_frozen(job: TrainJob) -> FittedFeatures:
    """Fit frozen features to the training videos, in this process. Raises RayreelError if those are too few."""
    store = FeatureStore(Storage(job.storage), job.key)
    matrix = open_features(store, job.features, job.train)
    exam = Exam.of(matrix, job.splits, job.evaluation, job.interactions, max_videos=job.train.validation_videos)
    if len(exam.split.train) < _MIN_VIDEOS:
        raise RayreelError(
            f"Only {len(exam.split.train)} of {len(matrix)} videos in the feature store are for training; at least "
            f"{_MIN_VIDEOS} are needed to standardise features. Extract more videos, or hold out fewer with "
            "--set splits.test=0.1."
        )
    tower = FrozenFeatures(job.frozen, dict(job.key.dims))
    fit_inputs(tower, matrix, exam.split.train, job.train.seed)
    return FittedFeatures(tower, _measured(tower, exam, job))


def _measured(tower: FrozenFeatures, exam: Exam, job: TrainJob) -> dict[str, float]:
    """The metrics by which training would select an epoch, so that MLflow can compare the runs."""
    try:
        task = validation(exam, job.train.select, job.pairs)
    except NothingToSelectBy as error:
        log.info("frozen features are not validated: %s", error)
        return {}
    return task.measure(embed(tower, task.matrix))

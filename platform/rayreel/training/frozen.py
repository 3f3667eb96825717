"""Releases without training: frozen features, standardised by the training videos, alone or beside a classifier."""

import logging
from dataclasses import dataclass, replace

import numpy as np
import torch
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.encoders.registry import HASHED_WORDS
from rayreel.errors import RayreelError
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.splits import coded
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embed import collate, embed
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.probe import ProbedFeatures
from rayreel.training.inputs import fit_inputs
from rayreel.training.job import TrainJob, open_features
from rayreel.training.smoothing import SmoothingChoice, choose_smoothing, is_measurable, unmeasured
from rayreel.training.validation import NothingToSelectBy, validation

log = logging.getLogger(__name__)

# The mean of a single video is that video: standardised, nothing would be left of it.
_MIN_VIDEOS = 2
_MIN_CATEGORIES = 2
# The time of a classifier grows with videos and categories.
_MOST_PROBED = 5_000


# Videos whose pairs show whether text and frames agree; 1000 have half a million pairs.
_COMPARED, _MIN_COMPARED = 1000, 10
_CONSTANT = 1e-6
# Little enough to leave the ranking of videos to the other modalities, and queries by text still work.
_SHARE_OF_NOISE = 0.05


# TF-IDF: of all that a release could read, only the words.
WORDS = FrozenConfig(visual=0, audio=0, text=1, inverse_frequency=True)


class NotWords(RayreelError):
    """TF-IDF needs counts of words, and the text encoder of the features gives something else."""


class NoLabels(RayreelError):
    """A classifier needs categories, and the training videos have fewer than two."""


@dataclass(frozen=True, slots=True)
class FittedFeatures:
    """Fitted features, their validation metrics, how far text and frames agree, and what averaging them brings.

    `metrics` is empty and `smoothing` None if the data have no validation task. `agreement` is the correlation of text
    cosines and frame cosines over the training videos; None if it cannot be known.
    """

    tower: FrozenFeatures | ProbedFeatures
    metrics: dict[str, float]
    agreement: float | None
    smoothing: SmoothingChoice | None

    @property
    def features(self) -> FrozenFeatures:
        """The frozen features, without a classifier."""
        return self.tower.features if isinstance(self.tower, ProbedFeatures) else self.tower


def fit_frozen(job: TrainJob) -> FittedFeatures:
    """Fit frozen features to the training videos, in this process. Raises RayreelError if those are too few."""
    exam = _exam(job)
    tower, agreement = _features(exam, job)
    return _validated(tower, agreement, exam, job)


def fit_words(job: TrainJob) -> FittedFeatures:
    """Fit TF-IDF to the words of the training videos, in this process. Raises NotWords."""
    if not job.key.identities[Modality.TEXT].startswith(HASHED_WORDS):
        raise NotWords(
            f"train.recipe=words needs features by the text encoder {HASHED_WORDS}, and these are {job.key}. Extract "
            "with --preset words, and train with --set encoders.preset=words."
        )
    return fit_frozen(replace(job, frozen=WORDS))


def fit_probe(job: TrainJob) -> FittedFeatures:
    """Fit frozen features and a classifier of the training videos' categories, in this process.

    The metrics are those of a classifier that knows the training videos only; with `train.refit`, the one returned
    knows the categories of the validation videos too. Raises NoLabels.
    """
    exam = _exam(job)
    features, agreement = _features(exam, job)
    embedding_ND = embed(features, exam.matrix)
    found = _validated(_probe(features, embedding_ND, exam.split.train, exam, job), agreement, exam, job)
    if job.train.refit:
        known = np.union1d(exam.split.train, exam.split.validation)
        refitted = _probe(features, embedding_ND, known, exam, job)
        refitted.smoothing = found.tower.smoothing
        found = replace(found, tower=refitted)
    return found


def _probe(
    features: FrozenFeatures, embedding_ND: NDArray[np.float32], known: NDArray[np.int64], exam: Exam, job: TrainJob
) -> ProbedFeatures:
    categories_N = np.array(exam.matrix.column("category"), dtype=np.str_)
    labelled = known[categories_N[known] != ""]
    if len(np.unique(categories_N[labelled])) < _MIN_CATEGORIES:
        raise NoLabels(
            f"The {len(known)} videos for training have fewer than two categories, and train.recipe=probe learns to "
            "tell categories apart. Add a category column to the catalog, or use train.recipe=frozen."
        )
    if len(labelled) > _MOST_PROBED:
        labelled = np.random.default_rng(job.train.seed).choice(labelled, _MOST_PROBED, replace=False)
    return ProbedFeatures.fitted(features, embedding_ND[labelled], categories_N[labelled])


def _exam(job: TrainJob) -> Exam:
    store = FeatureStore(Storage(job.storage), job.key)
    matrix = open_features(store, job.features, job.train)
    exam = Exam.of(matrix, job.splits, job.evaluation, job.interactions, max_videos=job.train.validation_videos)
    if len(exam.split.train) < _MIN_VIDEOS:
        raise RayreelError(
            f"Only {len(exam.split.train)} of {len(matrix)} videos in the feature store are for training; at least "
            f"{_MIN_VIDEOS} are needed to standardise features. Extract more videos, or hold out fewer with "
            "--set splits.test=0.1."
        )
    return exam


def _features(exam: Exam, job: TrainJob) -> tuple[FrozenFeatures, float | None]:
    tower = _fitted(job.frozen, exam, job)
    agreement = text_agreement(tower, exam, job.train.seed)
    if agreement is not None and agreement < job.frozen.min_agreement:
        tower = _fitted(job.frozen.model_copy(update={"text": _SHARE_OF_NOISE * job.frozen.text}), exam, job)
    return tower, agreement


def text_agreement(tower: FrozenFeatures, exam: Exam, seed: int) -> float | None:
    """Return the correlation of text cosines and frame cosines, over pairs of training videos of different groups.

    Titles that describe the videos had 0.18 to 0.48 on 20 to 300 videos of 400 real clips; camera names, numbers and
    random names in their place -0.12 to 0.11. None if a modality has no weight, few videos have both, or all are alike.
    """
    both = (Modality.VISUAL, Modality.TEXT)
    if not set(both) <= set(tower.modalities):
        return None
    train = exam.split.train
    rows = train[np.all([exam.matrix.vectors[modality].counts[train] > 0 for modality in both], axis=0)]
    rows = np.random.default_rng(seed).permutation(rows)[:_COMPARED]
    groups_R = coded(exam.groups)[0][rows]
    apart_RR = np.triu(groups_R[:, None] != groups_R)
    frames, texts = (_cosines(tower, exam.matrix, rows, modality)[apart_RR] for modality in both)
    if len(rows) < _MIN_COMPARED or min(frames.std(), texts.std()) < _CONSTANT:
        return None
    return float(np.corrcoef(frames, texts)[0, 1])


@torch.inference_mode()
def _cosines(
    tower: FrozenFeatures, matrix: FeatureMatrix, rows_R: NDArray[np.int64], modality: Modality
) -> NDArray[np.float32]:
    z_RD: NDArray[np.float32] = tower(collate(matrix.with_modalities([modality]), rows_R)).numpy()
    return z_RD @ z_RD.T


def _fitted(config: FrozenConfig, exam: Exam, job: TrainJob) -> FrozenFeatures:
    tower = FrozenFeatures(config, dict(job.key.dims))
    fit_inputs(tower, exam.matrix, exam.split.train, job.train.seed, job.words)
    return tower


def _validated(
    tower: FrozenFeatures | ProbedFeatures, agreement: float | None, exam: Exam, job: TrainJob
) -> FittedFeatures:
    """Choose the smoothing, and measure by what training would select an epoch, so that MLflow can compare the runs."""
    try:
        task = validation(exam, job.train.select, job.pairs)
    except NothingToSelectBy as error:
        log.info("frozen features are not validated: %s", error)
        return _averaged(FittedFeatures(tower, {}, agreement, unmeasured(len(exam.matrix))))
    embedding_ND = embed(tower, task.matrix)
    known = is_measurable(task)
    choice = choose_smoothing(embedding_ND, task) if known else unmeasured(len(exam.matrix))
    return _averaged(FittedFeatures(tower, task.measure(embedding_ND), agreement, choice))


def _averaged(fitted: FittedFeatures) -> FittedFeatures:
    if fitted.smoothing is not None:
        fitted.tower.smoothing = fitted.smoothing.smoothing
    return fitted

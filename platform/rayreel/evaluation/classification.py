"""Measure a classifier of videos: accuracy with its interval, precision and recall of each class, confusion matrix."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import confusion_matrix, precision_recall_fscore_support

from rayreel.evaluation.comparison import Score
from rayreel.evaluation.resampling import intervals


@dataclass(frozen=True, slots=True)
class Classified:
    """Videos with their true and predicted classes: indices [N] into `classes`.

    `part`: the part of the split that they are; `groups`: the recording of each, which is resampled as a whole.
    """

    part: str
    classes: tuple[str, ...]
    video_ids: Sequence[str]
    groups: Sequence[str]
    labels_N: NDArray[np.int64]
    predicted_N: NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class ClassScore:
    """Scores of one class. None: undefined, because no video has the class (recall) or none got it (precision)."""

    name: str
    videos: int
    recognised: int
    precision: float | None
    recall: float | None
    f1: float | None


@dataclass(frozen=True, slots=True)
class ClassReport:
    """Results on one part of the split.

    `balanced_accuracy` and `macro_f1` are means over the classes that have videos. `most_frequent`: accuracy of always
    predicting the class with the most training videos. `confusion`: rows are true classes, columns predicted ones.
    """

    part: str
    videos: int
    groups: int
    accuracy: Score
    balanced_accuracy: float
    macro_f1: float
    most_frequent: float
    classes: list[ClassScore]
    confusion: list[list[int]]
    mistakes: list[dict[str, Any]]


def classification(found: Classified, most_frequent: int, resamples: int = 1000) -> ClassReport:
    """Return the report of classified videos; `most_frequent` is the class with the most training videos.

    The accuracy's interval is a bootstrap over groups, none if there is only one.
    """
    confusion_KK = confusion_matrix(found.labels_N, found.predicted_N, labels=range(len(found.classes)))
    scores = _scores(found, confusion_KK)
    present = [score for score in scores if score.videos]
    return ClassReport(
        part=found.part,
        videos=len(found.labels_N),
        groups=len(set(found.groups)),
        accuracy=_accuracy(found, resamples),
        balanced_accuracy=float(np.mean([score.recall for score in present])),
        macro_f1=float(np.mean([score.f1 for score in present])),
        most_frequent=float((found.labels_N == most_frequent).mean()),
        classes=scores,
        confusion=confusion_KK.tolist(),
        mistakes=_mistakes(found),
    )


def _scores(found: Classified, confusion_KK: NDArray[np.int64]) -> list[ClassScore]:
    precision_K, recall_K, f1_K, videos_K = precision_recall_fscore_support(
        found.labels_N, found.predicted_N, labels=range(len(found.classes)), zero_division=np.nan
    )
    columns = (found.classes, videos_K, confusion_KK.diagonal(), precision_K, recall_K, f1_K)
    return [
        ClassScore(name, int(videos), int(right), *(_defined(value) for value in values))
        for name, videos, right, *values in zip(*columns, strict=True)
    ]


def _defined(value: float) -> float | None:
    return None if np.isnan(value) else float(value)


def _accuracy(found: Classified, resamples: int) -> Score:
    right_Q1 = (found.labels_N == found.predicted_N).astype(np.float64)[:, None]
    if len(set(found.groups)) < 2:
        return Score(float(right_Q1.mean()))
    _, cluster_Q = np.unique(np.array(found.groups), return_inverse=True)
    low_M, high_M = intervals(right_Q1, cluster_Q, resamples)
    return Score(float(right_Q1.mean()), float(low_M[0]), float(high_M[0]))


def _mistakes(found: Classified) -> list[dict[str, Any]]:
    wrong = np.flatnonzero(found.labels_N != found.predicted_N)
    return [
        {
            "video_id": found.video_ids[int(row)],
            "class": found.classes[found.labels_N[row]],
            "predicted": found.classes[found.predicted_N[row]],
        }
        for row in wrong
    ]

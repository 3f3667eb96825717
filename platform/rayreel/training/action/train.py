"""Train a video network on decoded clips: data-parallel training on a Ray cluster."""

import hashlib
import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from ray.train import CheckpointConfig, UserCallback

from rayreel.encoders.trained import WEIGHTS, TrainedFacts
from rayreel.evaluation.classification import Classified, ClassReport, classification
from rayreel.training.action.data import LabelledClips, check_clips
from rayreel.training.action.loop import PREDICTED, ActionJob, action_loop
from rayreel.training.progress import Diverged
from rayreel.training.trainer import run_loop


@dataclass(frozen=True, slots=True)
class TrainedAction:
    """The best epoch's network without its head, and its results.

    `report`: on the test clips or, if there are none, on the validation clips that chose the epoch. `counts`: numbers
    of training, validation and test clips by class. `left_out`: classes without training clips.
    """

    facts: TrainedFacts
    weights: bytes
    metrics: dict[str, float]
    report: ClassReport
    counts: dict[str, tuple[int, int, int]]
    left_out: tuple[str, ...]


def train_action(job: ActionJob, encoder: str, name: str, callbacks: Sequence[UserCallback] = ()) -> TrainedAction:
    """Train on the running Ray cluster, with checkpoints in `checkpoints/name` below the storage root.

    `encoder` is the name of the resulting encoder. Raises RayreelError if the clips cannot be used for training, and
    Diverged if the loss is not finite.
    """
    data = job.load()
    check_clips(data)
    result = run_loop(
        action_loop,
        job,
        job.action,
        (job.action.workers, job.action.workers),
        storage=job.storage,
        name=name,
        kept=CheckpointConfig(num_to_keep=1),
        callbacks=callbacks,
    )
    if result.return_value:
        rate = job.action.learning_rate
        raise Diverged(
            f"Training of {encoder} diverged: {result.return_value}. Lower the learning rate with --set "
            f"action.learning_rate={rate / 3:.1g}."
        )
    with result.checkpoint.as_directory() as folder:
        weights = (Path(folder) / WEIGHTS).read_bytes()
        predicted = json.loads((Path(folder) / PREDICTED).read_text())
    sha256 = hashlib.sha256(weights).hexdigest()
    facts = TrainedFacts(name=encoder, network=job.action.network, classes=data.classes, sha256=sha256)
    measured = report_of(data, predicted)
    return TrainedAction(facts, weights, _numbers(result.metrics), measured, data.counts(), data.left_out)


def report_of(data: LabelledClips, predicted: dict[str, list[int]]) -> ClassReport:
    """Return the report on the test clips or, without any, the validation clips; `predicted`: classes by part."""
    part = "test" if len(data.split.test) else "validation"
    rows_N = data.split.test if len(data.split.test) else data.split.validation
    ids, groups = ([names[row] for row in rows_N] for names in (data.video_ids, data.groups))
    found = Classified(
        part, data.classes, ids, groups, data.labels_N[rows_N], np.array(predicted[part], dtype=np.int64)
    )
    return classification(found, int(np.bincount(data.labels_N[data.split.train]).argmax()))


def _numbers(metrics: dict[str, Any]) -> dict[str, float]:
    return {key: float(value) for key, value in metrics.items() if "/" in key}

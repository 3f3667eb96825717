"""One trial of a sweep: a cell's settings with a seed, trained and tracked as by `rayreel train`."""

import logging
import os
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.utils.mlflow_tags import MLFLOW_PARENT_RUN_ID

from rayreel.errors import RayreelError
from rayreel.storage import Storage
from rayreel.training.job import TrainJob
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.sweep.grid import Cell
from rayreel.training.tracking import log_metrics, tracked
from rayreel.training.train import train
from rayreel.training.validation import SCORE

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class SweepTrial:
    """A cell's settings with a seed. `label`: the cell's label in tables; `name`: the folder of its checkpoints.

    `parameters` are for comparing runs in MLflow; `config` is the resolved settings tree.
    """

    name: str
    cell: Cell
    label: str
    seed: int
    job: TrainJob
    parameters: dict[str, Any]
    config: dict[str, Any]

    @property
    def title(self) -> str:
        """The name of the trial in tables."""
        return f"{self.label}, seed {self.seed}"


@dataclass(frozen=True, slots=True)
class TrialOutcome:
    """Result of a trial: the best epoch's checkpoint, its score by `metric`, or only `trouble`, the error message."""

    trial: SweepTrial
    run_id: str = ""
    checkpoint: str = ""
    score: float = 0.0
    metric: str = SCORE
    epochs: int = 0
    samples_per_s: float = 0.0
    trouble: str | None = None


def train_trial(trial: SweepTrial, parent: str, uri: str) -> dict[str, Any]:
    """Train in a child run of the MLflow run `parent` and return the fields of the TrialOutcome.

    A RayreelError is returned as `trouble`, not raised.
    """
    os.environ["MLFLOW_TRACKING_URI"] = uri  # the driver's: this process may be on another machine
    try:
        with tracked(Storage(trial.job.storage), trial.name, trial.parameters, trial.config) as run_id:
            mlflow.set_tag(MLFLOW_PARENT_RUN_ID, parent)
            return {"run_id": run_id, **_train(trial, uri, run_id)}
    except RayreelError as error:
        return {"trouble": f"{type(error).__name__}: {error}"}


def _train(trial: SweepTrial, uri: str, run_id: str) -> dict[str, Any]:
    journal = Journal(trial.job.storage, trial.name)
    trained = train(trial.job, trial.name, [EpochMetrics(journal, uri, run_id)])
    try:
        journal.deliver(uri, run_id)
    except MlflowException as error:  # the trained tower can still be compared
        log.warning("could not send all metrics of %s to MLflow; kept in its journal: %s", trial.name, error)
    return {
        "checkpoint": trained.checkpoint.path,
        "score": float(trained.metrics[trained.score]),
        "metric": trained.score,
        "epochs": trained.epochs,
        "samples_per_s": float(trained.metrics["train/samples_per_s"]),
    }


def log_test(outcome: TrialOutcome, metrics: Mapping[str, float]) -> None:
    """Add the test metrics, if any, to the trial's MLflow run."""
    if metrics:
        with mlflow.start_run(run_id=outcome.run_id):
            log_metrics({f"test/{key}": value for key, value in metrics.items()})

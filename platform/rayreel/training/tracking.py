"""MLflow: where runs are tracked, and how a run gets its metrics while it trains."""

import logging
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from ray.train import Checkpoint, UserCallback

from rayreel.errors import RayreelError
from rayreel.storage import Storage

log = logging.getLogger(__name__)

EXPERIMENT = "rayreel"


class TrackingUnavailable(RayreelError):
    """MLflow does not answer."""

    @staticmethod
    def of(error: MlflowException) -> "TrackingUnavailable":
        """MLflow's own words are long; their end says what went wrong."""
        cause = str(error.message).strip().rsplit(": ", 1)[-1].strip("\"')")
        return TrackingUnavailable(
            f"MLflow at {mlflow.get_tracking_uri()} does not answer ({cause}). Start it or correct "
            "MLFLOW_TRACKING_URI; without it a SQLite file below the storage root is used."
        )


def use_tracking(storage: Storage) -> str:
    """Point MLflow at MLFLOW_TRACKING_URI or, without it, at a SQLite file below the storage root; returns the URI."""
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    # A server that is away must not hold every epoch for minutes, which its default of 7 retries does.
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    given = os.environ.get("MLFLOW_TRACKING_URI")
    uri = given or _local_uri(storage)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if not given:
        # MLflow has put it into the environment, where every later call would take it for the user's.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return uri


@contextmanager
def tracked(storage: Storage, name: str, parameters: Mapping[str, Any], config: dict[str, Any]) -> Iterator[str]:
    """A run that ends with the block, failed if the block raises; yields its id.

    `parameters` are for comparing runs; `config` is the resolved settings tree, kept as an artifact.
    """
    use_tracking(storage)
    try:
        _use_experiment(storage)
    except MlflowException as error:
        raise TrackingUnavailable.of(error) from error
    with mlflow.start_run(run_name=name) as run:
        mlflow.log_params(dict(parameters))
        mlflow.log_dict(config, "config.yaml")
        mlflow.set_tag("git_commit", git_commit())
        yield str(run.info.run_id)


def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
    """Metrics of the active run; names are made such as MLflow accepts."""
    mlflow.log_metrics({_metric_name(key): float(value) for key, value in metrics.items()}, step=step)


def log_evaluation(run_id: str, metrics: Mapping[str, float], table: dict[str, dict[str, float]]) -> None:
    """Add a report on the test videos to the run that trained the tower."""
    with mlflow.start_run(run_id=run_id):
        log_metrics({f"test/{key}": value for key, value in metrics.items()})
        mlflow.log_dict(table, "evaluation.json")


class EpochMetrics(UserCallback):  # type: ignore[misc]
    """Sends each epoch's metrics to the run, from Ray Train's controller. MLflow being away stops no training."""

    def __init__(self, tracking_uri: str, run_id: str) -> None:
        self.tracking_uri, self.run_id = tracking_uri, run_id

    def after_report(self, run_context: Any, metrics: list[dict[str, Any]], checkpoint: Checkpoint | None) -> None:  # noqa: ANN401
        """Called by Ray Train after each epoch."""
        first = dict(metrics[0])
        epoch = int(first.pop("epoch"))
        try:
            client = mlflow.MlflowClient(self.tracking_uri)
            for key, value in first.items():
                client.log_metric(self.run_id, _metric_name(key), value, step=epoch)
        except MlflowException as error:
            log.warning("metrics of epoch %d did not reach MLflow: %s", epoch, error)


def git_commit() -> str:
    """The commit of the code that runs, or "unknown" outside a checkout."""
    if commit := os.environ.get("RAYREEL_GIT_COMMIT"):
        return commit
    git = shutil.which("git")
    if git is None:  # as in most images
        return "unknown"
    asked = subprocess.run(
        [git, "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return asked.stdout.strip() or "unknown"


def _metric_name(name: str) -> str:
    """MLflow takes letters, digits and _-. :/ in a metric's name."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", " at "))


def _local_uri(storage: Storage) -> str:
    folder = storage.local("mlflow", what="MLflow without MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    return f"sqlite:///{folder / 'mlflow.db'}"


def _use_experiment(storage: Storage) -> None:
    if mlflow.get_experiment_by_name(EXPERIMENT) is None:
        # A server keeps artifacts where it was told to; the local database has to be told here.
        location = None if os.environ.get("MLFLOW_TRACKING_URI") else storage.uri("mlflow", "artifacts")
        mlflow.create_experiment(EXPERIMENT, artifact_location=location)
    mlflow.set_experiment(EXPERIMENT)

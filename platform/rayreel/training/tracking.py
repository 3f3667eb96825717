"""MLflow: where runs are tracked, and how a run gets its metrics while it trains."""

import logging
import os
import re
import shlex
import shutil
import subprocess
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import mlflow
import yaml
from mlflow.entities import LifecycleStage
from mlflow.exceptions import MlflowException
from sqlalchemy import URL, make_url

from rayreel.errors import RayreelError
from rayreel.storage import Storage

log = logging.getLogger(__name__)

EXPERIMENT = "rayreel"
_AT_ONCE = 500  # a server refuses more than 1000 metrics in one request
# What MLflow's client calls a server that cannot be reached or is not well; all else is a fault of the request.
_UNAVAILABLE_CODES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")


class TrackingUnavailable(RayreelError):
    """MLflow does not answer, or refuses."""

    @staticmethod
    def of(error: MlflowException, remedy: str = "") -> "TrackingUnavailable":
        """MLflow's own words are long; their end says what went wrong. `remedy` follows on what is always true."""
        uri, message = mlflow.get_tracking_uri(), str(error.message).strip()
        if not _is_unavailable(error):
            reason = message.partition("\n")[0].rstrip(".")
            return TrackingUnavailable(
                f"MLflow at {_without_credentials(uri)} cannot do this: {reason}. {remedy}".rstrip()
            )
        cause = message.rsplit(": ", 1)[-1].strip("\"')")
        return TrackingUnavailable(
            f"MLflow at {_without_credentials(uri)} does not answer ({cause}). Start it or correct MLFLOW_TRACKING_URI; without it a "
            f"SQLite file below the storage root is used. {remedy}".rstrip()
        )


class TrackingDeleted(RayreelError):
    """The experiment or the run was deleted in MLflow. Not restored unasked: somebody meant to delete it."""

    @staticmethod
    def of(kind: str, name: str, identity: str) -> "TrackingDeleted":
        """`kind` is experiment or run."""
        uri = mlflow.get_tracking_uri()
        place = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
        return TrackingDeleted(
            f"The {kind} {name} was deleted in MLflow at {_without_credentials(uri)}. Restore it: "
            f"{place}mlflow {kind}s restore --{kind}-id {identity}"
        )


def _is_unavailable(error: MlflowException) -> bool:
    """A database is no server: its errors have the same codes, and their own words are clearer."""
    return error.error_code in _UNAVAILABLE_CODES and mlflow.get_tracking_uri().startswith(("http://", "https://"))


def _without_credentials(uri: str) -> str:
    """A URI without its credentials."""
    head, mark, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{mark}{host.rpartition('@')[2]}{slash}{path}"


def use_tracking(storage: Storage) -> str:
    """Point MLflow at MLFLOW_TRACKING_URI or, without it, at a SQLite file below the storage root; returns the URI."""
    bound_retries()
    os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
    os.environ.setdefault("MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR", "false")
    logging.getLogger("mlflow").setLevel(logging.WARNING)
    logging.getLogger("alembic").setLevel(logging.WARNING)
    logging.getLogger("urllib3").setLevel(logging.ERROR)
    configured = os.environ.get("MLFLOW_TRACKING_URI")
    uri = configured or _local_uri(storage)
    mlflow.set_tracking_uri(uri)
    mlflow.set_registry_uri(uri)
    if not configured:
        # MLflow has put it into the environment, where every later call would take it for the user's.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return uri


def bound_retries() -> None:
    """In every process that talks to MLflow: a server that is away must not hold an epoch for minutes, as 7 would."""
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "2")
    os.environ.setdefault("MLFLOW_HTTP_REQUEST_TIMEOUT", "20")


@contextmanager
def tracked(
    storage: Storage,
    name: str,
    parameters: Mapping[str, Any],
    config: dict[str, Any],
    *,
    run_id: str | None = None,
    remedy: str = "",
) -> Iterator[str]:
    """A run that ends with the block, failed if the block raises; yields its id. With `run_id` that run goes on.

    `parameters` are for comparing runs; `config` is the resolved settings tree, kept as an artifact. Raises
    TrackingUnavailable, with `remedy` at its end, where MLflow does not answer, be it at the start or in the block, and
    TrackingDeleted where the experiment or the run was deleted.
    """
    use_tracking(storage)
    status = "FAILED"
    try:
        try:
            run_id = _start(storage, name, parameters, config) if run_id is None else _resume(run_id)
        except MlflowException as error:
            raise TrackingUnavailable.of(error) from error
        yield run_id
        status = "FINISHED"
    except MlflowException as error:
        if run_id is not None and not _is_unavailable(error):
            _check_run(run_id)
        if error.error_code not in _UNAVAILABLE_CODES:
            raise
        raise TrackingUnavailable.of(error, remedy) from error
    finally:
        _end(status)


def _start(storage: Storage, name: str, parameters: Mapping[str, Any], config: dict[str, Any]) -> str:
    _use_experiment(storage)
    run = mlflow.start_run(run_name=name)
    mlflow.log_params(dict(parameters))
    mlflow.log_dict(config, "config.yaml")
    mlflow.set_tag("git_commit", git_commit())
    return str(run.info.run_id)


def _resume(run_id: str) -> str:
    _check_run(run_id)
    mlflow.start_run(run_id=run_id)
    return run_id


def _check_run(run_id: str) -> None:
    info = mlflow.get_run(run_id).info
    if info.lifecycle_stage == LifecycleStage.DELETED:
        experiment = mlflow.get_experiment(info.experiment_id)
        if experiment.lifecycle_stage == LifecycleStage.DELETED:  # its runs are restored with it
            raise TrackingDeleted.of("experiment", repr(experiment.name), info.experiment_id)
        raise TrackingDeleted.of("run", f"{info.run_name} ({run_id})", run_id)


def _end(status: str) -> None:
    try:
        mlflow.end_run(status)
    except MlflowException as error:
        log.warning("MLflow did not hear that the run has ended; --resume tells it: %s", error)


def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
    """Metrics of the active run; names are made such as MLflow accepts."""
    mlflow.log_metrics({metric_name(key): float(value) for key, value in metrics.items()}, step=step)


def log_report(run_id: str, metrics: Mapping[str, float], folder: Path) -> None:
    """Add a report on the test videos to the run that trained the tower: its metrics, its files as `evaluation/`.

    Raises TrackingDeleted.
    """
    _check_run(run_id)
    named = [(f"test/{key}", value) for key, value in metrics.items()]
    with mlflow.start_run(run_id=run_id):
        for start in range(0, len(named), _AT_ONCE):
            log_metrics(dict(named[start : start + _AT_ONCE]))
        mlflow.log_artifacts(str(folder), "evaluation")


def training_history(run_id: str) -> dict[str, list[tuple[int, float]]]:
    """(step, value) of every metric that a run logged while it trained."""
    client = mlflow.MlflowClient()
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("test/")]
    history = {name: client.get_metric_history(run_id, name) for name in sorted(names)}
    return {name: sorted((point.step, point.value) for point in points) for name, points in history.items()}


def run_config(run_id: str) -> dict[str, Any]:
    """The settings tree that a run was started with."""
    uri = mlflow.get_run(run_id).info.artifact_uri
    tree: dict[str, Any] = yaml.safe_load(mlflow.artifacts.load_text(f"{uri}/config.yaml"))
    return tree


def git_commit() -> str:
    """The commit of the code that runs, or "unknown" outside a checkout."""
    if commit := os.environ.get("RAYREEL_GIT_COMMIT"):
        return commit
    git = shutil.which("git")
    if git is None:  # as in most images
        return "unknown"
    result = subprocess.run(
        [git, "rev-parse", "HEAD"], cwd=Path(__file__).parent, capture_output=True, text=True, check=False
    )
    return result.stdout.strip() or "unknown"


def metric_name(name: str) -> str:
    """MLflow takes letters, digits and _-. :/ in a metric's name."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", " at "))


def _local_uri(storage: Storage) -> str:
    folder = storage.local("mlflow", what="MLflow without MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "mlflow.db")
    plain = f"sqlite:///{database}"
    if make_url(plain).database == database:
        return plain
    # A folder such as `what?` has to be escaped. MLflow makes the folder of a sqlite:/// URI without unescaping it.
    return URL.create("sqlite+pysqlite", database=database).render_as_string()


def _use_experiment(storage: Storage) -> None:
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        # A server keeps artifacts where it was told to; the local database has to be told here.
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        location = storage.local("mlflow", "artifacts", what="MLflow").as_uri() if own else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location)
    elif experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise TrackingDeleted.of("experiment", repr(EXPERIMENT), experiment.experiment_id)
    mlflow.set_experiment(EXPERIMENT)

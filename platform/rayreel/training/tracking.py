"""MLflow tracking: runs, their parameters, metrics and artifacts."""

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
_METRICS_PER_REQUEST = 500  # a server rejects more than 1000 metrics in one request
# Error codes of MLflow's client for a server that is unreachable or unhealthy; all others are errors of the request.
_UNAVAILABLE_CODES = ("INTERNAL_ERROR", "TEMPORARILY_UNAVAILABLE")

# The settings tree, among the artifacts of a run.
_CONFIG = "config.yaml"


class TrackingUnavailable(RayreelError):
    """MLflow does not answer, or rejects the request."""

    @staticmethod
    def of(error: MlflowException, remedy: str = "") -> "TrackingUnavailable":
        """Convert an MlflowException, shortened to its cause; `remedy` is added to the message."""
        uri, message = mlflow.get_tracking_uri(), str(error.message).strip()
        if not _is_unavailable(error):
            reason = message.partition("\n")[0].rstrip(".")
            return TrackingUnavailable(f"MLflow at {_without_credentials(uri)} failed: {reason}. {remedy}".rstrip())
        cause = message.rsplit(": ", 1)[-1].strip("\"')")
        return TrackingUnavailable(
            f"MLflow at {_without_credentials(uri)} does not answer ({cause}). Start it, correct MLFLOW_TRACKING_URI, "
            f"or unset it to use a SQLite file below the storage root. {remedy}".rstrip()
        )


class TrackingDeleted(RayreelError):
    """The experiment or the run was deleted in MLflow. Not restored automatically: the deletion may be intended."""

    @staticmethod
    def of(kind: str, name: str, identity: str) -> "TrackingDeleted":
        """Return the error with the command that restores it; `kind` is experiment or run."""
        uri = mlflow.get_tracking_uri()
        prefix = "" if os.environ.get("MLFLOW_TRACKING_URI") else f"MLFLOW_TRACKING_URI={shlex.quote(uri)} "
        return TrackingDeleted(
            f"The {kind} {name} was deleted in MLflow at {_without_credentials(uri)}. Restore it: "
            f"{prefix}mlflow {kind}s restore --{kind}-id {identity}"
        )


def _is_unavailable(error: MlflowException) -> bool:
    """Whether a server is unavailable. A database raises the same codes, but its messages are clearer."""
    return error.error_code in _UNAVAILABLE_CODES and mlflow.get_tracking_uri().startswith(("http://", "https://"))


def _without_credentials(uri: str) -> str:
    """Remove the credentials from a URI."""
    head, mark, rest = uri.partition("://")
    host, slash, path = rest.partition("/")
    return f"{head}{mark}{host.rpartition('@')[2]}{slash}{path}"


def use_tracking(storage: Storage) -> str:
    """Point MLflow to MLFLOW_TRACKING_URI or, if unset, to a SQLite file below the storage root; return the URI."""
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
        # MLflow has set the variable itself; later calls would take it for the user's setting.
        os.environ.pop("MLFLOW_TRACKING_URI", None)
    return uri


def bound_retries() -> None:
    """Limit MLflow's HTTP retries: with the default of 7, an unavailable server would block an epoch for minutes.

    Call it in every process that uses MLflow.
    """
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
    """Track the block as an MLflow run, marked as failed if the block raises; yields the run's id.

    With `run_id`, that run is resumed. `parameters` are for comparing runs; `config` is the resolved settings tree,
    stored as an artifact. Raises TrackingUnavailable if MLflow does not answer, with `remedy` at its end if that
    happens within the block, and TrackingDeleted if the experiment or the run was deleted.
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
    mlflow.log_dict(config, _CONFIG)
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
        if experiment.lifecycle_stage == LifecycleStage.DELETED:  # restoring it also restores its runs
            raise TrackingDeleted.of("experiment", repr(experiment.name), info.experiment_id)
        raise TrackingDeleted.of("run", f"{info.run_name} ({run_id})", run_id)


def _end(status: str) -> None:
    try:
        mlflow.end_run(status)
    except MlflowException as error:
        log.warning("could not mark the run as ended in MLflow; --resume will do so: %s", error)


def log_metrics(metrics: Mapping[str, float], step: int | None = None) -> None:
    """Log metrics to the active run; characters that MLflow does not accept in names are replaced."""
    mlflow.log_metrics({metric_name(key): float(value) for key, value in metrics.items()}, step=step)


def log_report(run_id: str, metrics: Mapping[str, float], folder: Path) -> None:
    """Add a test report to the run that trained the tower: metrics as `test/…`, files as artifacts in `evaluation/`.

    Raises TrackingDeleted.
    """
    _check_run(run_id)
    named = [(f"test/{key}", value) for key, value in metrics.items()]
    with mlflow.start_run(run_id=run_id):
        for start in range(0, len(named), _METRICS_PER_REQUEST):
            log_metrics(dict(named[start : start + _METRICS_PER_REQUEST]))
        mlflow.log_artifacts(str(folder), "evaluation")


def log_folder(folder: Path, name: str) -> None:
    """Add the files of a folder to the active run as artifacts in `name/`."""
    mlflow.log_artifacts(str(folder), name)


def add_files(run_id: str, folder: Path, name: str) -> None:
    """Add the files of a folder to an earlier run, as artifacts in `name/`.

    Raises TrackingUnavailable, TrackingDeleted.
    """
    try:
        _check_run(run_id)
        mlflow.MlflowClient().log_artifacts(run_id, str(folder), name)
    except MlflowException as error:
        raise TrackingUnavailable.of(error) from error


def training_history(run_id: str) -> dict[str, list[tuple[int, float]]]:
    """Return (step, value) of every metric that a run logged during training."""
    client = mlflow.MlflowClient()
    names = [name for name in client.get_run(run_id).data.metrics if not name.startswith("test/")]
    history = {name: client.get_metric_history(run_id, name) for name in sorted(names)}
    return {name: sorted((point.step, point.value) for point in points) for name, points in history.items()}


def run_config(run_id: str) -> dict[str, Any]:
    """Return the settings tree of a run; empty for a run without one. Raises TrackingUnavailable."""
    try:
        if not any(file.path == _CONFIG for file in mlflow.MlflowClient().list_artifacts(run_id)):
            return {}
        tree: dict[str, Any] = yaml.safe_load(
            mlflow.artifacts.load_text(f"{mlflow.get_run(run_id).info.artifact_uri}/{_CONFIG}")
        )
    except MlflowException as error:
        raise TrackingUnavailable.of(error) from error
    return tree


def git_commit() -> str:
    """Return the commit of the running code, or "unknown" outside a checkout."""
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
    """Return the name with characters replaced that MLflow does not accept; letters, digits and _-. :/ are valid."""
    return re.sub(r"[^\w\-. :/]", "_", name.replace("@", " at "))


def _local_uri(storage: Storage) -> str:
    folder = storage.local("mlflow", what="MLflow without MLFLOW_TRACKING_URI")
    folder.mkdir(parents=True, exist_ok=True)
    database = str(folder / "mlflow.db")
    plain = f"sqlite:///{database}"
    if make_url(plain).database == database:
        return plain
    # A path such as `what?` must be escaped. MLflow creates the folder of a sqlite:/// URI without unescaping it.
    return URL.create("sqlite+pysqlite", database=database).render_as_string()


def _use_experiment(storage: Storage) -> None:
    experiment = mlflow.get_experiment_by_name(EXPERIMENT)
    if experiment is None:
        # A server has its own artifact location; for the local database it must be set here.
        own = not os.environ.get("MLFLOW_TRACKING_URI")
        location = storage.local("mlflow", "artifacts", what="MLflow").as_uri() if own else None
        mlflow.create_experiment(EXPERIMENT, artifact_location=location)
    elif experiment.lifecycle_stage == LifecycleStage.DELETED:
        raise TrackingDeleted.of("experiment", repr(EXPERIMENT), experiment.experiment_id)
    mlflow.set_experiment(EXPERIMENT)

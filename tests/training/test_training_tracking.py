import re
import shlex
import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import mlflow
import pytest
import yaml
from click.testing import CliRunner
from mlflow.cli import cli

from rayreel.storage import Storage
from rayreel.training.tracking import (
    EXPERIMENT,
    TrackingDeleted,
    TrackingUnavailable,
    git_commit,
    log_metrics,
    log_report,
    run_config,
    tracked,
    training_history,
    use_tracking,
)
from tracking_database import with_database

NAMES = ("validation/recall@10", "train/loss", "TF-IDF titles/ndcg@5", "mean-pooled .7 vis .3 txt/precision@5")


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")  # MLflow sets them itself; patching restores them afterwards
            patch.delenv(name)
        yield Storage(tmp_path_factory.mktemp("storage"))
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture(scope="module")
def run_id(storage: Storage) -> str:
    with tracked(storage, "first", {"train.epochs": 3}, {"train": {"epochs": 3}}) as run_id:
        log_metrics(dict.fromkeys(NAMES, 0.5), step=0)
    return run_id


def test_mlflow_accepts_every_metric_name_and_keeps_them_distinct(run_id: str) -> None:
    assert len(mlflow.get_run(run_id).data.metrics) == len(NAMES)


def test_a_run_records_settings_and_commit_and_is_stored_below_the_storage_root(run_id: str, storage: Storage) -> None:
    run = mlflow.get_run(run_id)
    assert run.data.params == {"train.epochs": "3"}
    assert run.data.tags["git_commit"] == git_commit()
    assert run.info.status == "FINISHED"
    assert mlflow.get_experiment(run.info.experiment_id).name == EXPERIMENT
    config = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/config.yaml")
    assert yaml.safe_load(config) == {"train": {"epochs": 3}}
    assert storage.path("mlflow") in run.info.artifact_uri


def test_a_run_that_raises_is_marked_failed(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), tracked(storage, "second", {}, {}) as failed:
        raise ZeroDivisionError
    assert mlflow.get_run(failed).info.status == "FAILED"


def test_a_test_report_is_added_to_the_training_run(run_id: str, tmp_path: Path) -> None:
    (tmp_path / "evaluation.md").write_text("# Evaluation")
    log_report(run_id, {"tower/recall@10": 0.25} | {f"m{n}": 0.0 for n in range(1200)}, tmp_path)
    run = mlflow.get_run(run_id)
    assert run.data.metrics["test/tower/recall at 10"] == 0.25
    assert len([name for name in run.data.metrics if name.startswith("test/")]) == 1201
    assert mlflow.artifacts.load_text(f"{run.info.artifact_uri}/evaluation/evaluation.md") == "# Evaluation"


def test_a_run_has_its_training_history_and_settings(run_id: str) -> None:
    with mlflow.start_run(run_id=run_id):
        log_metrics({"curve/loss": 3.0}, step=0)
        log_metrics({"curve/loss": 2.0}, step=1)
    history = training_history(run_id)
    assert history["curve/loss"] == [(0, 3.0), (1, 2.0)]
    assert not any(name.startswith("test/") for name in history)
    assert run_config(run_id) == {"train": {"epochs": 3}}


def test_each_storage_root_has_its_own_database_within_one_process(storage: Storage, tmp_path: Path) -> None:
    here, elsewhere = use_tracking(storage), use_tracking(Storage(tmp_path))
    assert here == f"sqlite:///{storage.path('mlflow', 'mlflow.db')}"
    assert elsewhere == f"sqlite:///{tmp_path}/mlflow/mlflow.db"
    assert use_tracking(storage) == here == mlflow.get_tracking_uri() == mlflow.get_registry_uri()


def test_the_configured_tracking_server_is_used(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://mlflow.example")
    assert use_tracking(Storage("s3://bucket/x?region=eu-west-1")) == "http://mlflow.example"
    assert mlflow.get_tracking_uri() == "http://mlflow.example"
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    use_tracking(storage)


def test_an_unavailable_mlflow_at_the_start_is_reported(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://127.0.0.1:9")
    with (
        pytest.raises(TrackingUnavailable, match=r"127\.0\.0\.1:9.*MLFLOW_TRACKING_URI") as caught,
        tracked(storage, "nobody", {}, {}, remedy="resume it"),
    ):
        pytest.fail("the block must not run")
    assert "resume it" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    use_tracking(storage)


def test_an_mlflow_that_becomes_unavailable_within_a_run_is_reported_with_a_remedy(
    storage: Storage, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    with (
        pytest.raises(TrackingUnavailable, match="resume it"),
        tracked(storage, "going", {}, {}, remedy="resume it") as run_id,
    ):
        mlflow.MlflowClient("http://127.0.0.1:9").log_metric(run_id, "late", 1.0)
    assert mlflow.get_run(run_id).info.status == "FAILED"


def test_a_resumed_run_is_marked_as_finished(storage: Storage) -> None:
    with pytest.raises(ZeroDivisionError), tracked(storage, "third", {}, {}) as first:
        raise ZeroDivisionError
    with tracked(storage, "third", {}, {}, run_id=first) as again:
        log_metrics({"late": 1.0})
    assert again == first
    assert mlflow.get_run(first).info.status == "FINISHED" and mlflow.get_run(first).data.metrics == {"late": 1.0}


def test_the_commit_is_read_from_the_checkout(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAYREEL_GIT_COMMIT", raising=False)
    assert re.fullmatch("[0-9a-f]{40}|unknown", git_commit())


def test_the_commit_can_be_set_in_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RAYREEL_GIT_COMMIT", "abc123")
    assert git_commit() == "abc123"


def test_without_git_the_commit_is_unknown(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("RAYREEL_GIT_COMMIT", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    assert git_commit() == "unknown"


@pytest.mark.parametrize("name", ["what?", "a b#c", "50%", "50%25", "q?x=1#y%3F&z", "é;[x]*", "it's"])
def test_mlflow_works_in_a_folder_of_any_name(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, name: str
) -> None:
    (tmp_path / "here").mkdir()
    monkeypatch.chdir(tmp_path / "here")
    root = tmp_path / "roots" / name
    place = with_database(root)
    try:
        with tracked(place, "odd", {}, {"train": {"epochs": 3}}) as run_id:
            pass
        assert run_config(run_id) == {"train": {"epochs": 3}}
        with closing(sqlite3.connect(root / "mlflow" / "mlflow.db")) as database:
            assert database.execute("SELECT run_uuid FROM runs").fetchall() == [(run_id,)]
        assert list((root / "mlflow" / "artifacts").rglob("config.yaml"))
        assert [path.name for path in (tmp_path / "roots").iterdir()] == [name]
        assert not list((tmp_path / "here").iterdir())
    finally:
        use_tracking(storage)


def test_a_deleted_experiment_is_reported_with_the_command_that_restores_it(
    storage: Storage, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = with_database(tmp_path / "what?")
    try:
        with tracked(place, "first", {}, {}) as run_id:
            pass
        mlflow.delete_experiment(mlflow.get_run(run_id).info.experiment_id)
        with pytest.raises(TrackingDeleted, match=r"experiment 'rayreel' was deleted in MLflow at sqlite") as caught:
            use_run(place)
        assert "does not answer" not in str(caught.value)
        with pytest.raises(TrackingDeleted, match="experiments restore"):
            log_report(run_id, {"a": 1.0}, tmp_path)
        uri, command, *words = shlex.split(str(caught.value).partition("Restore it: ")[2])
        assert command == "mlflow"
        mlflow.set_tracking_uri(None)
        done = CliRunner(env=dict([uri.split("=", 1)])).invoke(cli, words)
        assert "has been restored" in done.output
        use_run(place)
    finally:
        use_tracking(storage)


def test_a_deleted_run_is_reported_on_resume_and_on_adding_a_report(storage: Storage, tmp_path: Path) -> None:
    with tracked(storage, "gone", {}, {}) as run_id:
        pass
    mlflow.delete_run(run_id)
    restore = f"run gone .* was deleted .*mlflow runs restore --run-id {run_id}"
    with pytest.raises(TrackingDeleted, match=restore), tracked(storage, "gone", {}, {}, run_id=run_id):
        pytest.fail("the block must not run")
    with pytest.raises(TrackingDeleted, match=restore):
        log_report(run_id, {"a": 1.0}, tmp_path)


def test_a_run_deleted_while_it_is_active_is_reported(storage: Storage) -> None:
    with pytest.raises(TrackingDeleted, match="was deleted"), tracked(storage, "going", {}, {}) as run_id:
        mlflow.delete_run(run_id)
        log_metrics({"late": 1.0})


def test_a_database_error_is_not_reported_as_an_unavailable_server(storage: Storage, tmp_path: Path) -> None:
    place = with_database(tmp_path)
    with closing(sqlite3.connect(tmp_path / "mlflow" / "mlflow.db")) as database:
        database.execute("UPDATE alembic_version SET version_num = 'of tomorrow'")
        database.commit()
    try:
        with pytest.raises(TrackingUnavailable) as caught:
            use_run(place)
        assert "does not answer" not in str(caught.value) and "of tomorrow" in str(caught.value)
    finally:
        use_tracking(storage)


def test_credentials_of_a_tracking_uri_are_not_shown(storage: Storage, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://me:secret@127.0.0.1:9")
    with pytest.raises(TrackingUnavailable, match=r"MLflow at http://127\.0\.0\.1:9 does") as caught:
        use_run(storage)
    assert "secret" not in str(caught.value)
    monkeypatch.delenv("MLFLOW_TRACKING_URI")
    use_tracking(storage)


def use_run(storage: Storage) -> None:
    with tracked(storage, "again", {}, {}):
        pass

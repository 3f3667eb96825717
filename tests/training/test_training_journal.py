import logging
from collections.abc import Iterator
from pathlib import Path

import mlflow
import pytest
from mlflow import MlflowClient
from mlflow.exceptions import MlflowException

from rayreel.storage import Storage
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.tracking import tracked, use_tracking
from tracking_database import with_database

UNREACHABLE = "http://127.0.0.1:9"


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Storage]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")  # MLflow sets them itself; patching restores them afterwards
            patch.delenv(name)
        patch.setenv("MLFLOW_HTTP_REQUEST_MAX_RETRIES", "0")
        yield with_database(tmp_path_factory.mktemp("storage"))
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


@pytest.fixture
def run_id(storage: Storage, request: pytest.FixtureRequest) -> str:
    with tracked(storage, request.node.name, {}, {}) as run_id:
        return run_id


@pytest.fixture
def journal(storage: Storage, request: pytest.FixtureRequest) -> Journal:
    return Journal(storage.root, request.node.name)


def history(storage: Storage, run_id: str, name: str = "train/loss") -> list[tuple[int, float]]:
    points = MlflowClient(use_tracking(storage)).get_metric_history(run_id, name)
    return [(point.step, point.value) for point in points]


def report(callback: EpochMetrics, epoch: int, loss: float) -> None:
    callback.after_report(None, [{"epoch": epoch, "train/loss": loss}, {"epoch": epoch, "train/loss": 9.0}], None)


def test_each_epoch_becomes_a_step_of_the_run(storage: Storage, journal: Journal, run_id: str) -> None:
    callback = EpochMetrics(journal, use_tracking(storage), run_id)
    for epoch, loss in enumerate((3.0, 2.0)):
        report(callback, epoch, loss)
    assert history(storage, run_id) == [(0, 3.0), (1, 2.0)]


def test_metrics_are_kept_while_mlflow_is_unavailable_and_delivered_later(
    storage: Storage, journal: Journal, run_id: str, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    away = EpochMetrics(journal, UNREACHABLE, run_id)
    report(away, 0, 3.0)
    report(away, 1, 2.0)
    assert "could not send the metrics of epoch 0 to MLflow; kept in the journal" in caplog.text
    assert "epoch 1" not in caplog.text  # no second attempt within the pause
    assert [entry.epoch for entry in journal.read()] == [0, 1] and history(storage, run_id) == []
    report(EpochMetrics(journal, use_tracking(storage), run_id), 2, 1.0)
    assert history(storage, run_id) == [(0, 3.0), (1, 2.0), (2, 1.0)]


def test_nothing_is_delivered_twice(storage: Storage, journal: Journal, run_id: str) -> None:
    uri = use_tracking(storage)
    report(EpochMetrics(journal, uri, run_id), 0, 3.0)
    journal.deliver(uri, run_id)
    report(EpochMetrics(journal, uri, run_id), 0, 3.5)  # an epoch repeated by a restart
    assert history(storage, run_id) == [(0, 3.0)]


def test_a_report_within_an_epoch_is_not_recorded(storage: Storage, journal: Journal, run_id: str) -> None:
    EpochMetrics(journal, use_tracking(storage), run_id).after_report(None, [{"validation/recall@10": 0.0}], None)
    assert journal.read() == [] and history(storage, run_id) == []


def test_the_journal_is_stored_with_the_checkpoints(storage: Storage, journal: Journal) -> None:
    journal.add(0, {"train/loss": 3.0})
    assert Path(storage.path("checkpoints", journal.name, "metrics.jsonl")).read_text().count("\n") == 1


def test_delivering_to_an_unavailable_mlflow_raises(journal: Journal) -> None:
    journal.add(0, {"train/loss": 3.0})
    with pytest.raises(MlflowException):
        journal.deliver(UNREACHABLE, "0" * 32)

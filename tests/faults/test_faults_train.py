"""Training whose driver and cluster are killed and which --resume continues, and an unreachable MLflow."""

from pathlib import Path
from typing import Any

import pytest
from mlflow import MlflowClient

from ray_here import short_folder
from train_run import TrainRun, plant_features

pytestmark = [pytest.mark.timeout(900), pytest.mark.faults]

UNREACHABLE = "http://127.0.0.1:9"


def trained(storage: Path, ray_folder: str, *words: str) -> TrainRun:
    run = TrainRun(storage, ray_folder, *words)
    try:
        assert run.wait() == 0, run.output()
    finally:
        run.end()
    return run


def tracked(storage: Path) -> tuple[Any, dict[str, list[tuple[int, float]]]]:
    """Return the only run in the storage's MLflow, and the history of each metric."""
    client = MlflowClient(f"sqlite:///{storage / 'mlflow' / 'mlflow.db'}")
    experiment = client.get_experiment_by_name("rayreel")
    assert experiment is not None
    (run,) = client.search_runs([experiment.experiment_id])
    points = {name: client.get_metric_history(run.info.run_id, name) for name in run.data.metrics}
    return run, {name: [(point.step, point.value) for point in each] for name, each in points.items()}


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[tuple[int, float]]]:
    storage = tmp_path_factory.mktemp("undisturbed")
    plant_features(storage)
    with short_folder() as folder:
        trained(storage, folder)
    return tracked(storage)[1]


def test_a_run_killed_with_its_cluster_continues_in_its_mlflow_run(
    tmp_path: Path, ray_folder: str, undisturbed: dict[str, list[tuple[int, float]]]
) -> None:
    storage = tmp_path / "storage"
    plant_features(storage)
    first = TrainRun(storage, ray_folder)
    try:
        first.wait_for_checkpoints(3)
    finally:
        first.end()
    resumed = trained(storage, ray_folder, "--resume", "last")
    assert "Continuing train-" in resumed.output() and "version 1" in resumed.output()
    run, history = tracked(storage)
    assert run.info.status == "FINISHED"
    assert history.keys() == undisturbed.keys()
    for name, points in undisturbed.items():
        if name == "train/samples_per_s":
            continue
        assert [step for step, _ in history[name]] == [step for step, _ in points], name
        assert [value for _, value in history[name]] == pytest.approx([value for _, value in points], rel=1e-6), name
    again = TrainRun(storage, ray_folder, "--resume", "last")
    assert again.wait() == 1 and "no unfinished run" in again.output()


def test_an_unreachable_mlflow_stops_a_run_before_it_starts(tmp_path: Path, ray_folder: str) -> None:
    storage = tmp_path / "storage"
    plant_features(storage)
    run = TrainRun(storage, ray_folder, MLFLOW_TRACKING_URI=UNREACHABLE, MLFLOW_HTTP_REQUEST_MAX_RETRIES="0")
    assert run.wait() == 1
    assert "TrackingUnavailable" in run.output() and UNREACHABLE in run.output() and "Traceback" not in run.output()
    assert not list(storage.glob("checkpoints/*"))

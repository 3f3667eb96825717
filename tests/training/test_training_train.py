"""Training on Ray: uninterrupted, killed, repeated and diverging."""

import os
import signal
import threading
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.preprocessing import normalize

from feature_rows import DIMS, KEY, feature_row, feature_table
from ordered_people import ordered_views
from processes import marked, title
from rayreel.errors import RayreelError
from rayreel.evaluation.config import SplitConfig
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.storage import Storage
from rayreel.tower.config import TowerConfig, UserTowerConfig
from rayreel.tower.save import load_tower
from rayreel.training.config import TrainConfig
from rayreel.training.job import TrainJob
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.progress import Diverged
from rayreel.training.train import Trained, train
from rayreel.training.users.choose import choose_users
from rayreel.training.users.parallel import choose_in_parallel
from rayreel.training.validation import SCORE

pytestmark = pytest.mark.timeout(600)

MINED = PairsConfig(label=1, negatives="mined", mined_from_rank=1, mined_to_rank=8)
TRAIN = TrainConfig(epochs=3, batch_size=16, workers=2, checkpoint_steps=1, learning_rate=1e-3, refit=False)


@pytest.fixture(scope="module")
def storage(tmp_path_factory: pytest.TempPathFactory) -> Storage:
    """90 videos in three categories."""
    root = Storage(tmp_path_factory.mktemp("storage"))
    store = FeatureStore(root, KEY)
    rng = np.random.default_rng(0)
    centres = [{m: rng.normal(size=dim) for m, dim in DIMS.items()} for _ in range(3)]
    rows = [feature_row(f"v{n:02}", centre=centres[n % 3], category=f"c{n % 3}") for n in range(90)]
    store.create()
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(f"v{n:02}", "1") for n in range(90)])
    return root


def job(storage: Storage, train: TrainConfig = TRAIN, pairs: PairsConfig = MINED) -> TrainJob:
    fingerprint = FeatureStore(storage, KEY).fingerprint()
    tower = TowerConfig(dim=16, gate_hidden=8, heads=2)
    splits = SplitConfig(validation=0.2, test=0.2)
    return TrainJob(storage.root, KEY, fingerprint, tower, train, splits, pairs=pairs)


def run(storage: Storage, name: str, **changes: object) -> tuple[Trained, list[dict[str, float]]]:
    journal = Journal(storage.root, name)
    # No server listens there: an unavailable MLflow does not stop a run.
    callback = EpochMetrics(journal, "http://127.0.0.1:9", "0" * 32)
    trained = train(job(storage, TrainConfig.model_validate(TRAIN.model_dump() | changes)), name, [callback])
    return trained, [entry.metrics for entry in journal.read()]


@pytest.fixture(scope="module")
def uninterrupted(ray_cluster: None, storage: Storage) -> tuple[Trained, list[dict[str, float]]]:
    return run(storage, "uninterrupted")


def weights(trained: Trained) -> dict[str, np.ndarray]:
    with trained.checkpoint.as_directory() as folder:
        return {name: value.numpy() for name, value in load_tower(Path(folder)).state_dict().items()}


def assert_same(one: tuple[Trained, list[dict[str, float]]], other: tuple[Trained, list[dict[str, float]]]) -> None:
    assert len(one[1]) == len(other[1])
    for ours, theirs in zip(one[1], other[1], strict=True):
        assert ours.keys() == theirs.keys()
        for name in ours.keys() - {"train/samples_per_s"}:
            assert ours[name] == pytest.approx(theirs[name], rel=1e-6), name
    for name, value in weights(one[0]).items():
        np.testing.assert_allclose(value, weights(other[0])[name], rtol=1e-5, atol=1e-7)


def test_the_best_epoch_is_the_one_with_the_best_validation_score(
    uninterrupted: tuple[Trained, list[dict[str, float]]],
) -> None:
    trained, epochs = uninterrupted
    assert trained.epochs == 3 == len(epochs)
    assert trained.metrics[SCORE] == max(metrics[SCORE] for metrics in epochs)
    assert {"train/loss", "train/gradient_norm", "train/learning_rate", "train/temperature"} <= set(epochs[0])


@pytest.mark.slow
def test_a_user_tower_of_two_workers_equals_that_of_this_process(ray_cluster: None, storage: Storage) -> None:
    rng = np.random.default_rng(0)
    vectors = np.asarray(normalize(rng.normal(size=(90, 12))), np.float32)
    splits = SplitConfig(user_cut="per_user", validation=0, test=0)
    own = replace(job(storage), interactions=ordered_views(100), splits=splits)
    config = UserTowerConfig(width=16, heads=2, epochs=3, batch_size=60, learning_rate=0.01)
    alone, many = choose_users(vectors, own, config), choose_in_parallel(vectors, own, config, name="two", fewest=1)
    assert many.score == pytest.approx(alone.score, abs=0.02) and many.people == alone.people == 50
    assert (many.tower is None) == (alone.tower is None)


@pytest.mark.slow
def test_a_killed_worker_changes_no_result(
    uninterrupted: tuple[Trained, list[dict[str, float]]], storage: Storage
) -> None:
    """A worker is killed within an epoch, after a step's checkpoint; the run continues with the next step."""
    killed: list[str] = []

    def kill() -> None:
        deadline = time.monotonic() + 120
        while time.monotonic() < deadline:
            folder = Path(storage.path("checkpoints", "killed"))
            if len(list(folder.glob("checkpoint_*/state.pt"))) >= 2:
                break
            time.sleep(0.01)
        for pid in marked(os.environ["RAY_TMPDIR"]):
            if "RayTrainWorker" in title(pid):
                os.kill(pid, signal.SIGKILL)
                killed.append(title(pid))
                return

    killer = threading.Thread(target=kill)
    killer.start()
    result = run(storage, "killed")
    killer.join()
    assert killed
    assert_same(result, uninterrupted)


@pytest.mark.slow
def test_a_completed_run_of_the_same_name_returns_its_result(
    uninterrupted: tuple[Trained, list[dict[str, float]]], storage: Storage
) -> None:
    assert_same(run(storage, "uninterrupted"), uninterrupted)


@pytest.mark.slow
def test_mapped_features_without_prefetching_train_the_same_tower(
    uninterrupted: tuple[Trained, list[dict[str, float]]], storage: Storage, tmp_path: Path
) -> None:
    other = run(storage, "mapped", ingest="mapped", scratch=tmp_path, prefetch=0, checkpoint_steps=0)
    assert_same(other, uninterrupted)


@pytest.mark.slow
def test_a_diverging_run_stops_and_names_the_last_good_checkpoint(ray_cluster: None, storage: Storage) -> None:
    with pytest.raises(Diverged, match=r"epoch \d, step \d, at learning rate .*checkpoint_.*train\.learning_rate"):
        run(storage, "diverging", learning_rate=300, warmup=0.9, workers=1)


def test_training_without_a_validation_task_is_rejected_with_a_remedy(storage: Storage) -> None:
    with pytest.raises(RayreelError, match="category or tags column"):
        run(storage, "unselectable", select="tags")

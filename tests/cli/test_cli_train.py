"""What `rayreel train` reports before training, and which settings are part of a training's digest."""

from collections.abc import Iterator
from pathlib import Path

import mlflow
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray

from ordered_people import EACH, KINDS, ordered_views
from random_store import SETS, random_store
from rayreel.catalog.interactions import SCHEMA
from rayreel.cli.steps.evaluate import evaluate_tower
from rayreel.cli.steps.sweep import run_sweep
from rayreel.cli.steps.train import (
    RegisteredTower,
    interactions_digest,
    score_of,
    train_tower,
    trained_already,
    training_digest,
)
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import load_settings
from rayreel.training.smoothing import AVERAGED_SCORE, UNMEASURED
from rayreel.training.sweep.grid import ImpossibleGrid
from scripts import run_script
from tracking_database import with_database


def digest(*sets: str, interactions: str = "none") -> str:
    return training_digest(load_settings(sets=sets), interactions)


@pytest.mark.parametrize(
    "changed",
    ["loss.kind=triplet", "pairs.label=1", "tower.dim=128", "train.seed=1", "splits.seed=1", "evaluation.history=5"],
)
def test_settings_that_change_a_tower_change_the_digest(changed: str) -> None:
    assert digest(changed) != digest()
    assert digest(interactions="some") != digest()
    assert digest("user_tower.width=8") == digest()
    assert digest("user_tower.width=8", interactions="some") != digest(interactions="some")


@pytest.mark.parametrize("changed", ["train.prefetch=0", "train.max_failures=9", "train.ingest=mapped", "index={}"])
def test_settings_that_only_change_the_execution_keep_the_digest(changed: str) -> None:
    assert digest(changed) == digest()


def test_the_digest_of_interactions_depends_only_on_their_content() -> None:
    row = {"user_id": "u", "video_id": "v", "timestamp": 0, "rating": None, "dwell_s": None}
    table = pa.Table.from_pylist([row, row | {"video_id": "w"}], schema=SCHEMA)
    assert interactions_digest(table) == interactions_digest(pa.concat_tables([table.slice(0, 1), table.slice(1)]))
    assert interactions_digest(table) != interactions_digest(table.slice(0, 1)) != interactions_digest(None)


def test_of_frozen_features_only_their_settings_change_the_digest() -> None:
    frozen = digest("train.recipe=frozen")
    assert frozen != digest() and frozen != digest("train.recipe=frozen", "frozen.audio=0")
    assert frozen == digest("train.recipe=frozen", "train.epochs=3", "tower.dim=128")
    assert digest("frozen.audio=0") == digest()
    assert digest("train.recipe=probe") not in (frozen, digest(), digest("train.recipe=probe", "frozen.audio=0"))


def test_the_best_kind_is_the_one_whose_release_has_the_best_validation_score() -> None:
    version = Version(1, "", "", "", "")
    own = RegisteredTower(version, 3, {"validation/recall@10": 0.9, "validation/ndcg@10": 0.6})
    averaged = RegisteredTower(version, None, {"validation/ndcg@10": 0.5, AVERAGED_SCORE: 0.7})
    views = RegisteredTower(version, None, {"validation/views/mrr@10": 0.4})
    assert [score_of(made) for made in (own, averaged, views, RegisteredTower(version, None, {}))] == [0.6, 0.7, 0.4, 0]


@pytest.fixture
def no_tracking(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
        monkeypatch.setenv(name, "")  # MLflow sets them; patched here, they are restored
        monkeypatch.delenv(name)
    yield
    mlflow.set_tracking_uri(None)
    mlflow.set_registry_uri(None)


@pytest.mark.parametrize("recipe", ["frozen", "probe"])
def test_features_are_registered_once_and_without_ray(recipe: str, tmp_path: Path, no_tracking: None) -> None:
    store, was_initialised = random_store(with_database(tmp_path).root), ray.is_initialized()
    settings = load_settings(sets=[*SETS, f"train.recipe={recipe}", "splits.validation=0.3"], storage=str(tmp_path))
    registered = train_tower(settings)
    assert registered.epochs is None and 0 <= registered.metrics["validation/recall@10"] <= 1
    assert registry.tags(registered.version.number)["kind"] == recipe
    assert registered.version == trained_already(settings, store) == registry.resolve(registry.CHALLENGER)
    run = mlflow.get_run(registered.version.run_id).data
    assert run.params["frozen.text"] == "0.55" and run.metrics["validation/recall at 10"] >= 0
    assert ray.is_initialized() == was_initialised


@pytest.mark.parametrize("recipe", ["auto", "best"])
def test_without_labels_and_interactions_averaged_frozen_features_are_registered(
    recipe: str, tmp_path: Path, no_tracking: None
) -> None:
    store, was_initialised = random_store(with_database(tmp_path).root, categories=0), ray.is_initialized()
    settings = load_settings(sets=[*SETS, f"train.recipe={recipe}"], storage=str(tmp_path))
    registered = train_tower(settings)
    tags = registry.tags(registered.version.number)
    assert registered.version.number == 1 and (tags["kind"], tags["smoothing"]) == ("frozen", str(UNMEASURED))
    assert AVERAGED_SCORE not in registered.metrics
    assert recipe == "best" or trained_already(settings, store) == registered.version
    assert ray.is_initialized() == was_initialised


@pytest.mark.slow
def test_with_interactions_a_user_tower_is_registered_with_the_version_and_has_a_row_in_the_report(
    tmp_path: Path, no_tracking: None
) -> None:
    """Of frozen features, so without Ray; people watch one kind of video after another."""
    random_store(with_database(tmp_path).root, categories=0, videos=KINDS * EACH, kinds=KINDS)
    pq.write_table(ordered_views(), tmp_path / "views.parquet")
    sets = ["train.recipe=frozen", "splits.user_cut=per_user", f"interactions={tmp_path / 'views.parquet'}", *SETS]
    sets += ["user_tower.epochs=12", "user_tower.width=16", "user_tower.learning_rate=0.01"]
    sets += ["user_tower.batch_size=128"]  # in batches of all views, one seed of five stops before it has learnt
    settings = load_settings(sets=[*sets, "evaluation.bootstrap=100"], storage=str(tmp_path))
    made = train_tower(settings)
    tower = registry.load(made.version)
    assert tower.users is not None
    run = mlflow.get_run(made.version.run_id).data
    assert run.metrics["validation/user tower/ndcg at 10"] > run.metrics["validation/served users/ndcg at 10"]
    scores = evaluate_tower(settings, made.version).sections["users"].scores
    assert scores["user tower"]["ndcg@10"].mean > 1.5 * scores["tower, interests"]["ndcg@10"].mean
    off = train_tower(load_settings(sets=[*sets, "user_tower.mode=off"], storage=str(tmp_path)))
    assert registry.load(off.version).users is None


def test_a_sweep_of_a_recipe_that_trains_nothing_is_refused() -> None:
    settings = load_settings(sets=["train.recipe=frozen"])
    with pytest.raises(ImpossibleGrid, match=r"train\.recipe=frozen trains none"):
        run_sweep(settings, [("train.recipe=frozen",)], [settings], seeds=1, parallel=1)


@pytest.mark.slow
def test_resume_accepts_no_settings(tmp_path: Path) -> None:
    failed = run_script("jobs/train.py", "--resume", "last", "--epochs", "3", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "settings that the run started with" in failed.stdout


def test_resuming_an_unknown_run_is_reported(tmp_path: Path) -> None:
    failed = run_script("jobs/train.py", "--resume", "train-9", "--storage", str(tmp_path))
    assert failed.returncode == 1 and "train-9" in failed.stdout and "Traceback" not in failed.stdout + failed.stderr

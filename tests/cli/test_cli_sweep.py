"""A small sweep on Ray: two cells that train, and one that cannot."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import mlflow
import numpy as np
import pytest

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.cli import output, sweep
from rayreel.cli.steps.sweep import _trials
from rayreel.cli.steps.train import inputs_of, train_tower
from rayreel.encoders.load import encoder_identities
from rayreel.errors import RayreelError
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.release import registry
from rayreel.settings import Settings, load_settings
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.recipe import LABELS
from tracking_database import with_database

pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

EPOCHS = 2
GRID = ["pairs.mined_from_rank=1,5,80"]  # of fewer training videos than 80
SETS = [
    f"train.epochs={EPOCHS}",
    "train.workers=1",
    "train.batch_size=16",
    "tower.dim=16",
    "pairs.negatives=mined",
    "pairs.mined_to_rank=90",
    "evaluation.bootstrap=100",
    "splits.validation=0.2",
    "encoders.random_weights=true",
]


@dataclass(frozen=True)
class SweepRun:
    """The output of a sweep and its runs in MLflow."""

    output: str
    parent: mlflow.entities.Run
    children: list[mlflow.entities.Run]
    tree: dict[str, Any]


@pytest.fixture(scope="module")
def no_tracking() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")  # MLflow sets them; patched here, they are restored
            patch.delenv(name)
        yield
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def store_features(settings: Settings) -> None:
    """90 videos in three categories, under the key that the settings give."""
    identities = encoder_identities(settings.encoders, settings.weights_cache)
    key = EncoderKey(identities=identities, dims=DIMS, frame_size=KEY.frame_size, sampling=settings.sampling)
    assert str(key) == settings.encoder_key
    rng = np.random.default_rng(0)
    centres = [{m: rng.normal(size=dim) for m, dim in DIMS.items()} for _ in range(3)]
    rows = [feature_row(f"v{n:02}", centre=centres[n % 3], category=f"c{n % 3}") for n in range(90)]
    store = FeatureStore(settings.place, key)
    store.create()
    store.add(feature_table(*rows), QUARANTINE.empty_table())
    store.set_catalog([(row["video_id"], row["version"]) for row in rows])


def pairs_of(folder: Path, *cells: tuple[str, ...]) -> list[PairsConfig]:
    """The pairs of each cell's training."""
    base = ["encoders.random_weights=true", "splits.validation=0.2"]
    resolved = [load_settings(None, [*base, *cell], str(folder)) for cell in cells]
    store_features(resolved[0])
    return [trial.job.pairs for trial in _trials("sweep", cells, resolved, 1, inputs_of(resolved[0]))]


def test_a_sweep_over_pairs_trains_every_cell_as_set(tmp_path: Path) -> None:
    assert pairs_of(tmp_path, ("pairs.label=0",), ("pairs.label=1",)) == [PairsConfig(), PairsConfig(label=1)]


def test_a_sweep_over_other_settings_trains_every_cell_with_the_recipe(tmp_path: Path) -> None:
    assert pairs_of(tmp_path, ("tower.dim=16",), ("tower.dim=32",)) == [LABELS.pairs, LABELS.pairs]


@pytest.fixture(scope="module")
def swept(ray_cluster: None, no_tracking: None, tmp_path_factory: pytest.TempPathFactory) -> SweepRun:
    folder = with_database(tmp_path_factory.mktemp("storage")).root
    store_features(load_settings(None, SETS, folder))
    with pytest.MonkeyPatch.context() as patch, output.console.capture() as capture:
        patch.setattr(output.console, "_width", 250)
        sweep.main(grid=GRID, register_best=True, sets=SETS, storage=folder)
    runs = mlflow.search_runs(search_all_experiments=True, output_format="list")
    parents = {run.data.tags.get("mlflow.parentRunId") for run in runs}
    parent = next(run for run in runs if run.info.run_id in parents)
    text = mlflow.artifacts.load_text(f"{parent.info.artifact_uri}/evaluation/sweep.json")
    children = [run for run in runs if run.data.tags.get("mlflow.parentRunId") == parent.info.run_id]
    return SweepRun(capture.get(), parent, children, json.loads(text))


def test_a_failed_trial_is_a_row_with_its_reason_and_does_not_end_the_sweep(swept: SweepRun) -> None:
    troubles = {trial["label"]: trial["trouble"] for trial in swept.tree["trials"]}
    assert len(troubles) == 3
    for label, trouble in troubles.items():
        assert (trouble is None) == (label != "pairs.mined_from_rank=80")
    assert swept.output.count("│ failed") == 1 and "too few to leave out the nearest 80" in swept.output


def test_every_trial_is_a_child_run_of_the_sweeps_run(swept: SweepRun) -> None:
    assert sorted(run.info.status for run in swept.children) == ["FAILED", "FINISHED", "FINISHED"]
    assert swept.parent.info.status == "FINISHED"
    client = mlflow.MlflowClient()
    for run in swept.children:
        if run.info.status == "FINISHED":
            assert len(client.get_metric_history(run.info.run_id, "train/loss")) == EPOCHS
            assert "test/category/ndcg at 10" in run.data.metrics


def test_trials_are_ordered_by_validation_score_and_the_best_cell_is_trained_and_registered(swept: SweepRun) -> None:
    through = [trial for trial in swept.tree["trials"] if trial["trouble"] is None]
    scores = [trial["validation/recall@10"] for trial in through]
    assert scores == sorted(scores, reverse=True)
    assert swept.tree["best"] == through[0]["name"]
    trial, trained = (
        mlflow.get_run(run_id).data.params
        for run_id in (through[0]["run_id"], registry.resolve(registry.CHALLENGER).run_id)
    )
    changed = {name for name in trial.keys() | trained.keys() if trial.get(name) != trained.get(name)}
    # Only the trial must not train on validation videos, and says by what it is compared.
    assert trained["train.refit"] == "True" and changed <= {"train.refit", "train.select", "training"}


def test_the_table_has_the_baselines_beside_the_trials(swept: SweepRun) -> None:
    lines = [line for line in swept.output.splitlines() if line.startswith("│")]
    first = {line.split("│")[1].strip() for line in lines}
    assert {"pairs.mined_from_rank=1", "random", "mean-pooled .7 vis .3 txt", "untrained tower"} <= first
    markdown = mlflow.artifacts.load_text(f"{swept.parent.info.artifact_uri}/evaluation/sweep.md")
    assert "| pairs.mined_from_rank=5 |" in markdown and "PairsImpossible" in markdown


def test_the_best_recipe_registers_every_kind_and_challenges_with_the_best_on_validation(
    swept: SweepRun, no_tracking: None, tmp_path: Path
) -> None:
    settings = load_settings(None, [*SETS, "train.recipe=best"], with_database(tmp_path).root)
    store_features(settings)
    with output.console.capture() as capture:
        best = train_tower(settings)
    kinds = {registry.tags(number)["kind"]: number for number in (1, 2, 3)}
    assert set(kinds) == {"frozen", "probe", "tower"}
    assert registry.resolve(registry.CHALLENGER) == best.version
    scores = dict(zip(("frozen", "probe", "tower"), _scores(capture.get()), strict=True))
    assert kinds[max(scores, key=lambda kind: scores[kind])] == best.version.number


def _scores(shown: str) -> list[float]:
    """The rows of the table of validation scores: frozen, probe and auto."""
    table = shown[shown.rindex("Validation score") :]
    rows = [line.split("│") for line in table.splitlines() if line.startswith("│")]
    return [float(row[2]) for row in rows if row[1].strip() in {"frozen", "probe", "auto"}]


def test_an_unknown_setting_is_reported_before_anything_trains(tmp_path: Path) -> None:
    with pytest.raises(RayreelError, match=r"tower\.colour"):
        sweep.main(grid=["tower.colour=red,blue"], sets=SETS, storage=str(tmp_path))

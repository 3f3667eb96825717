import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import torch
from rich.console import Console

from feature_rows import DIMS, KEY, feature_row, feature_table
from rayreel.cli import output
from rayreel.cli.steps.evaluate import evaluate_tower, report_path, terminal_table
from rayreel.cli.steps.text_sources import show_text_sources
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import encoder_identities
from rayreel.evaluation.evaluate import Evaluation
from rayreel.evaluation.report import tables_of
from rayreel.features.key import EncoderKey
from rayreel.features.schema import QUARANTINE, feature_schema
from rayreel.features.store import FeatureStore
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.tower.config import TowerConfig
from rayreel.tower.save import save_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import log_metrics, tracked
from tracking_database import with_database
from watching import watched

COUNT = 80


@dataclass(frozen=True)
class Done:
    """An evaluation of a registered tower, and its output."""

    settings: Settings
    version: Version
    result: Evaluation
    output: str

    def artifact(self, name: str) -> str:
        """Return an artifact of the tower's run."""
        run = mlflow.get_run(self.version.run_id)
        text: str = mlflow.artifacts.load_text(f"{run.info.artifact_uri}/evaluation/{name}")
        return text


def settings_for(folder: Path, *more: str) -> Settings:
    return load_settings(
        None, ["evaluation.bootstrap=100", f"interactions={folder / 'views.parquet'}", *more], str(folder)
    )


def store_features(settings: Settings) -> None:
    rows = [feature_row(f"v{n:02}", category=f"c{n % 4}", content_hash=f"{n:064x}") for n in range(COUNT)]
    store = FeatureStore(settings.place, KEY)
    store.create()
    store.set_catalog([(row["video_id"], row["version"]) for row in rows])
    store.add(feature_table(*rows), QUARANTINE.empty_table())


def register_tower(settings: Settings, folder: Path) -> Version:
    torch.manual_seed(0)
    save_tower(VideoTower(TowerConfig(dim=16), DIMS), folder)
    tags = {"encoder_key": str(KEY), "features": "f", "training": "t"}
    with tracked(settings.place, "train", {}, settings.model_dump(mode="json")):
        for epoch, loss in enumerate((3.0, 2.0)):
            log_metrics({"train/loss": loss}, step=epoch)
        return registry.register(folder, tags, {})


@pytest.fixture(scope="module")
def done(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder, tower = tmp_path_factory.mktemp("storage"), tmp_path_factory.mktemp("tower")
    rng = np.random.default_rng(0)
    views = [(f"u{rng.integers(30)}", f"v{rng.integers(COUNT):02}", float(rng.integers(10**6))) for _ in range(500)]
    pq.write_table(watched(*views), folder / "views.parquet")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")  # MLflow sets them; patched here, they are restored
            patch.delenv(name)
        patch.setattr(output.console, "_width", 250)
        with_database(folder)
        trained = settings_for(folder, "splits.test=0.4", "splits.seed=5")
        store_features(trained)
        version = register_tower(trained, tower)
        settings = settings_for(folder)
        with output.console.capture() as capture:
            result = evaluate_tower(settings, version)
        yield Done(settings, version, result, capture.get())
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def test_the_report_is_logged_to_the_towers_run_as_markdown_json_and_a_page(done: Done) -> None:
    assert "| tower |" in done.artifact("evaluation.md")
    tree = json.loads(done.artifact("evaluation.json"))
    assert set(tree["sections"]) == set(done.result.sections) >= {"category", "neighbours", "users"}
    page = done.artifact("evaluation.html")
    assert "train\\u002floss" in page or "train/loss" in page
    assert Path(report_path(done.settings, done.version)).read_text() == page
    assert mlflow.get_run(done.version.run_id).data.metrics["test/users/item-kNN/recall at 10"] == pytest.approx(
        done.result.flat["users/item-kNN/recall@10"]
    )


def test_every_table_is_shown_followed_by_the_verdicts(done: Done) -> None:
    for name, section in done.result.sections.items():
        assert f"{name}: {section.queries} queries, {section.candidates} candidates" in done.output
        assert sum(line.startswith(f"{name}, ") for line in done.output.splitlines()) >= 1
    assert "nDCG@10 [95 %]" in done.output and "the tower beats" in done.output.splitlines()[-1]


def test_the_split_of_the_training_is_used_instead_of_the_settings(done: Done) -> None:
    assert done.settings.splits.test == 0.2
    assert done.result.held_out > 0.3 * COUNT
    assert "Using the split of the training" in done.output and "seed=5" in done.output


def printed(found: Evaluation, width: int) -> str:
    console = Console(record=True, width=width, soft_wrap=True)
    console.print(terminal_table(tables_of(found, found.sections["category"])[0], width))
    return console.export_text()


def test_intervals_in_brackets_are_not_read_as_markup(done: Done) -> None:
    score = done.result.sections["category"].scores["tower"]["ndcg@10"]
    assert f"{score.mean:.3f} [{score.low:.3f}, {score.high:.3f}]" in printed(done.result, 250)


def test_a_narrow_terminal_gets_fewer_columns_uncut(done: Done) -> None:
    narrow, wide = printed(done.result, 80), printed(done.result, 250)
    assert max(map(len, narrow.splitlines())) <= 80
    assert "mean-pooled .7 vis .3 txt" in narrow and "nDCG@10 [95 %]" in narrow and "…" not in narrow
    assert "8 more columns in the Markdown" in narrow
    assert "Markdown" not in wide and "cov@10" in wide


def test_sources_of_text_are_compared_with_the_text_encoder_of_the_version(done: Done, tmp_path: Path) -> None:
    settings = settings_for(Path(done.settings.storage), "encoders.preset=words")
    identities = encoder_identities(settings.encoders, settings.weights_cache)
    dims = {Modality.VISUAL: 192, Modality.AUDIO: 192, Modality.TEXT: 2048}
    key = EncoderKey(identities=identities, dims=dims, frame_size=224, sampling=settings.sampling)
    said = {"visual": None, "audio": None, "text": None, "encoder_key": str(key)}
    rows = [feature_row(f"v{n:02}", category=f"c{n % 4}", transcript=f"word{n % 4}") | said for n in range(COUNT)]
    store = FeatureStore(settings.place, key)
    store.create()
    store.add(pa.Table.from_pylist(rows, schema=feature_schema(dims)), QUARANTINE.empty_table())
    save_tower(VideoTower(TowerConfig(dim=16), dims), tmp_path)
    with tracked(settings.place, "train", {}, settings.model_dump(mode="json")):
        version = registry.register(tmp_path, {"encoder_key": str(key), "features": "f", "training": "t"}, {})
    with output.console.capture() as capture:
        found = {row["name"]: row for row in show_text_sources(settings, version)}
    assert "without transcript" in capture.get() and json.dumps(found)
    assert found["without title"]["text"]["mean"] > 0.9 > found["without transcript"]["text"]["mean"]

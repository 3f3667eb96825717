"""`rayreel train-action` on generated films, and extraction with the trained encoder."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import mlflow
import numpy as np
import pytest

from moving import KINDS, write_moving_films
from rayreel.catalog.read import read_catalog
from rayreel.cli import output
from rayreel.cli.steps import train_action
from rayreel.cli.steps.extract import extract_features
from rayreel.cli.steps.train_action import RegisteredEncoder, resume_encoder, train_encoder
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoder
from rayreel.encoders.trained import UnknownEncoder
from rayreel.errors import RayreelError
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import open_store
from rayreel.settings import Settings, load_settings
from rayreel.training.action.clips import ClipStore
from rayreel.training.action.register import MODEL, Registered
from rayreel.training.progress import Diverged
from rayreel.training.runs import NoSuchRun
from tracking_database import with_database

pytestmark = pytest.mark.slow

REPORTS = ("report.html", "report.json", "report.md")

SMALL = (
    "action.network={frames: 6, stride: 2, size: 24, channels: [8, 16]}",
    "action.windows=2",
    "action.epochs=40",
    "action.batch_size=8",
    "action.learning_rate=0.01",
    "splits.validation=0.2",
    "splits.test=0.3",
    "sampling.frames=2",
    "encoders.random_weights=true",  # of the text encoder, which is not used here
    "encoders.device=cpu",
)


@dataclass(frozen=True)
class Done:
    """A finished run of the command."""

    settings: Settings
    films: Path
    encoder: RegisteredEncoder
    printed: str

    @property
    def registered(self) -> Registered:
        return self.encoder.registered

    def curve(self, metric: str) -> list[float]:
        client = mlflow.MlflowClient()
        run_id = client.get_model_version(MODEL, str(self.registered.version)).run_id
        return [point.value for point in client.get_metric_history(run_id, metric)]

    def with_encoder(self, name: str) -> Settings:
        return load_settings(None, [*SMALL, f"encoders.visual={name}"], self.settings.storage)


@pytest.fixture(scope="module")
def done(ray_cluster: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Done]:
    folder = tmp_path_factory.mktemp("action")
    films = write_moving_films(folder / "films", groups=7, each=3)
    (films / "down" / "torn.mp4").write_bytes(b"no film")
    with pytest.MonkeyPatch.context() as patch:
        for name in ("MLFLOW_TRACKING_URI", "MLFLOW_REGISTRY_URI"):
            patch.setenv(name, "")
            patch.delenv(name)
        settings = load_settings(None, SMALL, with_database(folder / "storage").root)
        with output.console.capture() as capture:
            encoder = train_encoder(settings, read_catalog(films), "moves")
        yield Done(settings, films, encoder, capture.get())
        mlflow.set_tracking_uri(None)
        mlflow.set_registry_uri(None)


def test_the_output_lists_the_clips_of_each_class_and_the_unusable_ones(done: Done) -> None:
    assert all(kind in done.printed for kind in KINDS)
    assert "unreadable" in done.printed
    assert "test/accuracy" in done.printed and "precision" in done.printed


def test_the_report_is_next_to_the_encoder_and_in_the_run(done: Done) -> None:
    files = {name: (Path(done.registered.folder) / name).read_text() for name in REPORTS}
    assert all(kind in text for kind in KINDS for text in files.values())
    run_id = mlflow.MlflowClient().get_model_version(MODEL, str(done.registered.version)).run_id
    artifacts = {file.path for file in mlflow.MlflowClient().list_artifacts(run_id, "report")}
    assert artifacts == {f"report/{name}" for name in REPORTS}
    found, epochs = json.loads(files["report.json"]), len(done.curve("validation/accuracy"))
    assert found["accuracy"]["mean"] == pytest.approx(done.encoder.trained.metrics["test/accuracy"])
    assert sum(map(sum, found["confusion"])) == found["videos"] == sum(row["videos"] for row in found["classes"])
    for name in ("train/loss", "train/accuracy", "validation/loss", "validation/accuracy"):
        assert len(found["history"][name]) == len(done.curve(name)) == epochs
    assert done.curve("train/accuracy")[-1] > 0.6  # by chance one third


def test_a_run_interrupted_before_it_was_registered_continues_without_training_again(
    done: Done, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load_settings(None, [*SMALL, "action.epochs=2"], done.settings.storage)
    with monkeypatch.context() as patch, pytest.raises(KeyboardInterrupt):
        patch.setattr(train_action, "log_folder", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
        train_encoder(settings, read_catalog(done.films), "brief")
    written = Path(settings.place.path("encoders", "brief", "model.safetensors")).read_bytes()
    resumed = resume_encoder(load_settings(None, [], done.settings.storage), "last")
    assert resumed.name == "brief" and resumed.trained.weights == written
    versions = mlflow.MlflowClient().search_model_versions(f"name='{MODEL}'")
    assert [version.tags["encoder"] for version in versions].count("brief") == 1
    with pytest.raises(NoSuchRun, match="no unfinished run"):
        resume_encoder(done.settings, "last")


def test_the_run_is_tracked_and_its_network_beats_chance_on_unseen_recordings(done: Done) -> None:
    version = mlflow.MlflowClient().get_model_version(MODEL, str(done.registered.version))
    run = mlflow.get_run(version.run_id)
    assert run.info.status == "FINISHED"
    assert run.data.metrics["test/accuracy"] > 0.5  # by chance one third
    epochs = mlflow.MlflowClient().get_metric_history(run.info.run_id, "validation/accuracy")
    assert len(epochs) > 3


def test_features_of_the_trained_network_place_recordings_of_one_motion_together(done: Done) -> None:
    settings = done.with_encoder("moves")
    report = extract_features(settings, read_catalog(done.films))
    assert (report.extracted, report.quarantined) == (63, 1)
    name = next(name for name in settings.place.folders(settings.place.path("features")) if name.startswith("moves+"))
    matrix = FeatureMatrix.from_table(open_store(settings.place, name).read())
    visual = matrix.vectors[Modality.VISUAL]
    assert visual.values.shape == (126, 16)
    assert set(visual.counts) == {2}
    kinds = np.array(matrix.column("category")).repeat(2)
    x = visual.values.astype(np.float64)
    sources = np.array([name[: -len("_c01")] for name in matrix.column("video_id")]).repeat(2)
    distance = np.linalg.norm(x[:, None] - x[None], axis=2) + 1e9 * (sources[:, None] == sources)
    assert (kinds[distance.argmin(axis=1)] == kinds).mean() > 0.6


def test_the_registered_model_returns_the_encoders_vectors(done: Done) -> None:
    encoder = load_encoder(Modality.VISUAL, done.with_encoder("moves").encoders, Path("unused"))
    frames = np.random.default_rng(0).integers(0, 256, (2, 12, 24, 24, 3), dtype=np.uint8)
    model = mlflow.pyfunc.load_model(f"models:/{MODEL}/{done.registered.version}")
    np.testing.assert_allclose(model.predict(frames), encoder.encode(frames.reshape(24, 24, 24, 3)), atol=1e-3)


def test_an_encoders_name_can_be_used_only_once(done: Done) -> None:
    with pytest.raises(RayreelError, match="already"):
        train_encoder(done.settings, read_catalog(done.films), "moves")
    with pytest.raises(RayreelError, match="already"):
        train_encoder(done.settings, read_catalog(done.films), "resnet50")


def test_a_loss_of_nan_ends_the_run_with_advice_and_leaves_no_encoder(done: Done) -> None:
    wild = (*SMALL, "action.learning_rate=1e30", "action.workers=1", "action.epochs=3")
    settings = load_settings(None, wild, done.settings.storage)
    with pytest.raises(Diverged, match=r"wild.*action\.learning_rate"):
        train_encoder(settings, read_catalog(done.films), "wild")
    assert settings.place.folders(settings.place.path("encoders")) == ["brief", "moves"]


def test_an_unknown_encoder_is_reported_with_the_trained_ones(done: Done) -> None:
    with pytest.raises(UnknownEncoder, match="moves"):
        done.with_encoder("movez")


def test_clips_are_decoded_once(done: Done) -> None:
    store = ClipStore(done.settings.place.root, done.settings.action)
    assert len(store.done()) == store.read().num_rows == 63


def test_the_action_preset_sets_its_window(tmp_path: Path) -> None:
    settings = load_settings(None, ["encoders.preset=action"], str(tmp_path))
    assert (settings.sampling.window, settings.sampling.frames) == (16, 8)
    assert settings.encoders.storage == str(tmp_path)

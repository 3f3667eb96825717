"""Train a tower on the feature store and register it as challenger."""

import hashlib
import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer

from command import ConfigFile, Sets, StorageRoot, console, facts, features, finish, run, step, use_ray
from rayreel.features.store import FeatureStore
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.loop import TrainJob
from rayreel.training.tracking import EpochMetrics, git_commit, tracked, use_tracking
from rayreel.training.train import train


def main(
    epochs: Annotated[int | None, typer.Option(help="Passes over the videos (train.epochs).")] = None,
    workers: Annotated[int | None, typer.Option(help="Data-parallel workers (train.workers).")] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Train a tower on the feature store with data-parallel InfoNCE; the best epoch becomes the challenger.

    The best epoch is chosen by recall@10 on validation videos. Everything is tracked in MLflow.
    """
    shortcuts = {"train.epochs": epochs, "train.workers": workers}
    given = [*(sets or []), *(f"{key}={value}" for key, value in shortcuts.items() if value is not None)]
    settings = load_settings(config, given, storage)
    version = train_tower(settings)
    finish(
        f"{registry.MODEL} version {version.number}, alias {registry.CHALLENGER}",
        f"python jobs/evaluate.py --storage {settings.storage}",
    )


def train_tower(settings: Settings) -> Version:
    """Train, track and register."""
    place, store = settings.place, features(settings)
    job = TrainJob(place.root, store.key, settings.tower, settings.train, settings.splits)
    step(f"Training on {store.key}: {job.train.epochs} epochs, {job.train.workers} workers")
    use_ray()
    name = datetime.now(UTC).strftime("train-%Y%m%d-%H%M%S")
    about = {"encoder_key": str(store.key), "features": store.fingerprint(), "training": training_digest(settings)}
    parameters = {**about, **settings.tower.model_dump(), **settings.train.model_dump()}
    with tracked(place, name, parameters, settings.model_dump(mode="json")) as run_id:
        trained = train(job, name, [EpochMetrics(use_tracking(place), run_id)])
        with trained.checkpoint.as_directory() as folder:
            version = registry.register(Path(folder), about, {**trained.metrics, "git commit": git_commit()})
    shown = {key: f"{value:.4g}" for key, value in trained.metrics.items()}
    console.print(facts(f"Best of {trained.epochs} epochs", shown))
    return version


def training_digest(settings: Settings) -> str:
    """Changes with any setting that changes the tower."""
    parts = {"tower": settings.tower, "train": settings.train, "splits": settings.splits}
    text = json.dumps({name: part.model_dump(mode="json") for name, part in parts.items()}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def trained_already(settings: Settings, store: FeatureStore) -> Version | None:
    """The newest version trained on exactly these features with exactly these settings."""
    return registry.trained_on(store.fingerprint(), training_digest(settings))


if __name__ == "__main__":
    run(main)

"""Towers that differ in a few settings, trained as jobs/train.py trains, without MLflow."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

import pyarrow as pa

from rayreel.cli.output import console, step
from rayreel.cli.steps.ray_session import use_ray
from rayreel.cli.steps.train import TrainingInputs, job_of
from rayreel.features.store import FeatureStore
from rayreel.settings import Settings, load_settings
from rayreel.tower.save import load_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.train import train
from rayreel.training.validation import SCORE


@dataclass(frozen=True, slots=True)
class Variant:
    """The tower of a run's best epoch, and what validation said of it."""

    tower: VideoTower
    score: float


@dataclass(frozen=True, slots=True)
class Given:
    """What a user gave for settings: --config, --set and --storage."""

    config: Path | None = None
    sets: Sequence[str] = ()
    storage: str | None = None

    def over(self, found: Sequence[str]) -> Settings:
        """Found settings stand above the file's and below --set."""
        return load_settings(self.config, [*found, *self.sets], self.storage)


def train_variants(variants: Mapping[str, Settings], store: FeatureStore, interactions: pa.Table) -> dict[str, Variant]:
    """Train one after the other on Ray; the best by validation comes first.

    Checkpoints lie below the store's root, not the settings'.
    """
    use_ray()
    step(f"Training {len(variants)} towers on {store.key}")
    data = TrainingInputs(store, store.fingerprint(), interactions, "")
    moment = f"{datetime.now(UTC):%Y%m%d-%H%M%S}"
    found = {}
    for number, (name, settings) in enumerate(variants.items()):
        job = replace(job_of(settings, data), storage=store.storage.root)
        trained = train(job, f"variant-{moment}-{number}")
        with trained.checkpoint.as_directory() as folder:
            tower = load_tower(Path(folder))
        found[name] = Variant(tower, float(trained.metrics[SCORE]))
        said = f"{SCORE} {found[name].score:.4f} in epoch {trained.metrics['epoch']:.0f} of {trained.epochs}"
        console.print(f"  {name}: {said}", highlight=False)
    return dict(sorted(found.items(), key=lambda entry: -entry[1].score))

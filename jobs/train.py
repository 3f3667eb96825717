"""Train a tower on the feature store and register it as challenger."""

import hashlib
import json
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Any

import pyarrow as pa
import typer

from command import ConfigFile, Sets, StorageRoot, console, facts, features, finish, following, run, step, use_ray
from rayreel.catalog.interactions import read_interactions
from rayreel.errors import RayreelError
from rayreel.features.store import FeatureStore
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.job import TrainJob
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.runs import LAST, RunRecord, check_unchanged, find_run
from rayreel.training.tracking import git_commit, tracked, use_tracking
from rayreel.training.train import Trained, train

LEARNS_FROM = ("tower", "loss", "pairs", "train", "splits")
# Settings of `train` that say where and how safely, and change no tower.
_WHEREABOUTS = {"cpus_per_worker", "ingest", "scratch", "prefetch", "keep_checkpoints", "max_failures", "device", "on"}


def main(
    epochs: Annotated[int | None, typer.Option(help="Passes over the videos (train.epochs).")] = None,
    workers: Annotated[
        str | None, typer.Option(help="Data-parallel workers: 2, or 1:4 for as many as there is room for.")
    ] = None,
    interactions: Annotated[
        str | None, typer.Option(help="Who watched what: CSV, Parquet or RecBole .inter file (interactions).")
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(metavar="NAME", help=f"Go on with an interrupted run, with its settings; {LAST}: the newest."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Train a tower on the feature store, data-parallel; the best epoch becomes the challenger.

    Pairs, loss and the score that chooses the best epoch are settings; only validation videos choose it. Everything is
    tracked in MLflow.
    """
    shortcuts = {"train.epochs": epochs, "train.workers": workers, "interactions": interactions}
    given = [*(sets or []), *(f"{key}={json.dumps(value)}" for key, value in shortcuts.items() if value is not None)]
    settings = load_settings(config, given, storage)
    if resume is None:
        version = train_tower(settings)
    elif given or config is not None:
        raise RayreelError("--resume goes on with the settings that the run began with: give it none but --storage.")
    else:
        version = resume_run(settings, resume)
    finish(
        f"{registry.MODEL} version {version.number}, alias {registry.CHALLENGER}",
        following("evaluate", settings, config, given),
    )


def train_tower(settings: Settings) -> Version:
    """Train, track and register."""
    data = data_of(settings)
    name = datetime.now(UTC).strftime("train-%Y%m%d-%H%M%S")
    config = settings.model_dump(mode="json")
    parameters = {**data.about(settings), **flat({part: config[part] for part in LEARNS_FROM})}
    step(f"Training on {data.store.key}: {settings.train.epochs} epochs, {settings.train.workers} workers ({name})")
    with tracked(settings.place, name, parameters, config, remedy=_remedy(settings, name)) as run_id:
        record = RunRecord(name, run_id, config, data.features, data.interactions_digest)
        record.write(settings.place)
        return _train_and_register(settings, data, record)


def resume_run(settings: Settings, name: str) -> Version:
    """Go on with an interrupted run where it was, in its MLflow run; only the storage root is today's."""
    record = find_run(settings.place, name)
    # Encoders trained below the storage root have moved with it, where it has.
    encoders = {**record.settings["encoders"], "storage": None}
    began = Settings(**{**record.settings, "storage": settings.storage, "encoders": encoders})
    data = data_of(began)
    check_unchanged(record, data.features, data.interactions_digest)
    step(f"Going on with {record.name}: {began.train.epochs} epochs, {began.train.workers} workers")
    with tracked(began.place, record.name, {}, {}, run_id=record.run_id, remedy=_remedy(began, record.name)):
        return _train_and_register(began, data, record)


@dataclass(frozen=True, slots=True)
class Data:
    """What a run learns from, with the digests by which a later one knows it again."""

    store: FeatureStore
    features: str
    interactions: pa.Table | None
    interactions_digest: str

    def about(self, settings: Settings) -> dict[str, str]:
        """What the registry keeps of it."""
        training = training_digest(settings, self.interactions_digest)
        return {"encoder_key": str(self.store.key), "features": self.features, "training": training}


def data_of(settings: Settings) -> Data:
    """The feature store and interactions that the settings name."""
    store = features(settings)
    table = None if settings.interactions is None else read_interactions(settings.interactions)
    return Data(store, store.fingerprint(), table, interactions_digest(table))


def _train_and_register(settings: Settings, data: Data, record: RunRecord) -> Version:
    place, journal = settings.place, Journal(settings.place.root, record.name)
    uri, about = use_tracking(place), data.about(settings)
    if (there := registry.trained_on(about["features"], about["training"])) and there.run_id == record.run_id:
        record.done(place, there.number)
        return there
    trained = _train(settings, data, record.name, EpochMetrics(journal, uri, record.run_id))
    journal.deliver(uri, record.run_id)
    with trained.checkpoint.as_directory() as folder:
        version = registry.register(Path(folder), about, {**trained.metrics, "git commit": git_commit()})
    record.done(place, version.number)
    # MLflow has the lists of other lengths.
    shown = {key: f"{value:.4g}" for key, value in trained.metrics.items() if "@" not in key or key.endswith("@10")}
    console.print(facts(f"Best of {trained.epochs} epochs", shown))
    return version


def _train(settings: Settings, data: Data, name: str, callback: EpochMetrics) -> Trained:
    use_ray()
    return train(job_of(settings, data), name, [callback])


def job_of(settings: Settings, data: Data) -> TrainJob:
    """What the workers are told."""
    return TrainJob(
        storage=settings.place.root,
        key=data.store.key,
        features=data.features,
        tower=settings.tower,
        train=settings.train,
        splits=settings.splits,
        loss=settings.loss,
        pairs=settings.pairs,
        evaluation=settings.evaluation,
        interactions=data.interactions,
    )


def _remedy(settings: Settings, name: str) -> str:
    return "What was trained is kept; with MLflow back, this goes on and registers it: " + following(
        "train", settings, None, [], "--resume", name
    )


def interactions_digest(table: pa.Table | None) -> str:
    """Changes with any interaction; `none` without any."""
    if table is None:
        return "none"
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table.combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()


def training_digest(settings: Settings, interactions: str) -> str:
    """Changes with any setting and any interaction that changes the tower."""
    parts = settings.model_dump(mode="json", include=set(LEARNS_FROM), exclude={"train": _WHEREABOUTS})
    # Of the rest, what a user's vector and co-watching are decides which epoch is best.
    judged = settings.evaluation.model_dump(include={"history", "co_watch_window_s"})
    text = json.dumps({**parts, "evaluation": judged, "interactions": interactions}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def trained_already(settings: Settings, store: FeatureStore) -> Version | None:
    """The newest version trained on exactly these features with exactly these settings and interactions."""
    table = None if settings.interactions is None else read_interactions(settings.interactions)
    return registry.trained_on(store.fingerprint(), training_digest(settings, interactions_digest(table)))


def flat(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Settings by part.key, for comparing runs."""
    return {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}


if __name__ == "__main__":
    run(main)

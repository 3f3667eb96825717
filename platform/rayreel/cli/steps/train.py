"""Training a tower: tracked in MLflow, resumable, registered as challenger."""

import hashlib
import json
import tempfile
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from ray.train import Checkpoint

from rayreel.catalog.interactions import read_behaviour, read_interactions
from rayreel.cli.output import console, facts, next_command, note, step
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.encoder import Modality
from rayreel.features.store import FeatureStore, open_store
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.tower.config import Smoothing
from rayreel.tower.embed import embed
from rayreel.tower.save import load_tower, save_tower
from rayreel.training.frozen import FittedFeatures, NoLabels, fit_frozen, fit_probe, fit_words
from rayreel.training.job import TrainJob, prepare
from rayreel.training.journal import EpochMetrics, Journal
from rayreel.training.recipe import PairRecipe, with_recipe
from rayreel.training.runs import TowerRun, find_run
from rayreel.training.smoothing import AVERAGED_SCORE, SmoothingChoice, choose_smoothing
from rayreel.training.tracking import git_commit, log_metrics, tracked, use_tracking
from rayreel.training.train import train
from rayreel.training.users.choose import UserChoice, attach_users
from rayreel.training.users.parallel import choose_in_parallel
from rayreel.training.words import mean_words

# Parts of the settings that change a tower, by recipe.
_TRAINED = ("tower", "loss", "pairs", "train", "splits")
_UNTRAINED_PARTS = ("frozen", "splits")
LEARNS_FROM = {"auto": _TRAINED, "tower": _TRAINED, "frozen": _UNTRAINED_PARTS, "probe": _UNTRAINED_PARTS}
LEARNS_FROM["words"] = ("splits",)
LEARNS_FROM["best"] = (*_TRAINED, "frozen")
# By view retrieval, if that is the only validation task; kinds are compared by what a release of them serves.
_COMPARED_BY = (AVERAGED_SCORE, "validation/ndcg@10", "validation/views/mrr@10")
# In place of a digest of interactions.
NO_INTERACTIONS = "none"
# Settings of `train` that choose where and how safely to train, and do not change the tower.
_EXECUTION = {"cpus_per_worker", "ingest", "scratch", "prefetch", "keep_checkpoints", "max_failures", "device", "on"}


@dataclass(frozen=True, slots=True)
class RegisteredTower:
    """A tower in the registry, and its best epoch's metrics; a run that was registered before has none.

    `epochs` is None for one that was not trained now: registered before, or of frozen features.
    """

    version: Version
    epochs: int | None
    metrics: dict[str, Any] = field(repr=False)

    def as_dict(self) -> dict[str, Any]:
        """Return the result for --json."""
        found = {"model": registry.MODEL, "version": self.version.number, "alias": registry.CHALLENGER}
        return found | {"run_id": self.version.run_id, "epochs": self.epochs, "metrics": self.metrics}


@dataclass(frozen=True, slots=True)
class TrainingInputs:
    """The features and interactions of a run, with digests that identify them to a later run."""

    store: FeatureStore
    features: str
    interactions: pa.Table | None
    interactions_digest: str
    words: dict[Modality, NDArray[np.float32]] = field(default_factory=dict)

    def about(self, settings: Settings) -> dict[str, str]:
        """Return what the registry records of a tower trained on these inputs."""
        training = training_digest(settings, self.interactions_digest)
        return {"encoder_key": str(self.store.key), "features": self.features, "training": training}


def train_tower(settings: Settings) -> RegisteredTower:
    """Make a tower by the recipe of the settings, track the run and register it; of a training, the best epoch."""
    if settings.train.recipe == "best":
        return _train_best(settings)
    inputs, recipe = inputs_of(settings), settings.train.recipe
    job, pairs = job_of(settings, inputs)
    if recipe == "auto" and not pairs.worthwhile:
        note(_NOTHING_TO_LEARN)
        recipe = "frozen"
    if recipe in _UNTRAINED:
        return _register_untrained(settings, inputs, job, recipe)
    name = datetime.now(UTC).strftime("train-%Y%m%d-%H%M%S")
    config = settings.model_dump(mode="json")
    parameters = run_parameters(settings, inputs, job)
    step(f"Training on {inputs.store.key}: {settings.train.epochs} epochs, {settings.train.workers} workers ({name})")
    step(f"Pairs: {pairs.reason}")
    with tracked(settings.place, name, parameters, config, remedy=_remedy(settings, name)) as run_id:
        record = TowerRun(
            name=name,
            run_id=run_id,
            settings=config,
            features=inputs.features,
            interactions=inputs.interactions_digest,
        )
        record.write(settings.place)
        return _train_and_register(settings, inputs, job, record)


def _train_best(settings: Settings) -> RegisteredTower:
    """Register a version of every kind that the data allow; the best by validation becomes the challenger."""
    found: dict[str, RegisteredTower] = {}
    each = {recipe: by_recipe(settings, recipe) for recipe in ("frozen", "probe", "auto")}
    if not job_of(each["auto"], inputs_of(settings))[1].worthwhile:
        del each["auto"]  # it would be frozen features again
    for recipe, own in each.items():
        try:
            found[recipe] = train_tower(own)
        except NoLabels as reason:
            note(f"No version by train.recipe={recipe}: {reason}")
    scores = {recipe: score_of(made) for recipe, made in found.items()}
    best = max(scores, key=lambda recipe: scores[recipe])
    registry.challenge(found[best].version.number)
    console.print(facts("Validation score", {recipe: f"{score:.3f}" for recipe, score in scores.items()}))
    note(f"The challenger is version {found[best].version.number}, of train.recipe={best}, the best on validation.")
    return found[best]


def by_recipe(settings: Settings, recipe: str) -> Settings:
    """Return the settings with another `train.recipe`."""
    return settings.model_copy(update={"train": settings.train.model_copy(update={"recipe": recipe})})


def score_of(made: RegisteredTower) -> float:
    """Return the validation score of a version as a release would serve it; 0 without a validation task."""
    return next((float(made.metrics[name]) for name in _COMPARED_BY if name in made.metrics), 0.0)


_NOTHING_TO_LEARN = (
    "The data have no interactions and no category with two videos for training. Features without training are better "
    "than a tower that learns only from views of the same video, so they are registered. To train one, set "
    "train.recipe=tower."
)
_UNTRAINED: dict[str, tuple[str, Callable[[TrainJob], FittedFeatures]]] = {
    "frozen": ("Frozen features", fit_frozen),
    "probe": ("Frozen features beside a classifier of the categories", fit_probe),
    "words": ("TF-IDF of the words", fit_words),
}


def _register_untrained(settings: Settings, inputs: TrainingInputs, job: TrainJob, recipe: str) -> RegisteredTower:
    """Fit features and register them. Needs no Ray, and is repeated rather than resumed."""
    name, (title, fit) = datetime.now(UTC).strftime(f"{recipe}-%Y%m%d-%H%M%S"), _UNTRAINED[recipe]
    step(f"{title} of {inputs.store.key} ({name})")
    parameters, config = run_parameters(settings, inputs, job), settings.model_dump(mode="json")
    with tracked(settings.place, name, parameters, config), tempfile.TemporaryDirectory() as scratch:
        fitted = fit(job)
        users = attach_users(fitted.tower, job, settings.user_tower)
        found = {**fitted.metrics, **averaged_score(fitted.smoothing)}
        found |= {} if fitted.agreement is None else {"text agreement": fitted.agreement}
        found |= {} if users is None else users.metrics
        log_metrics(found)
        save_tower(fitted.tower, Path(scratch))
        weights = {f"weight of {modality}": weight for modality, weight in fitted.features.config.weights.items()}
        about = {**weights, **found, **averaging(fitted.smoothing), **about_users(users), "git commit": git_commit()}
        version = registry.register(Path(scratch), inputs.about(settings), about)
    _show(f"{title}, {fitted.tower.dim} dimensions", {**weights, **found})
    show_averaging(fitted.smoothing)
    show_users(users)
    if fitted.features.config.text < settings.frozen.text:
        step("Text has little weight: it does not agree with the frames, as file names do (frozen.min_agreement)")
    return RegisteredTower(version, None, {**fitted.metrics, **averaged_score(fitted.smoothing)})


def run_parameters(settings: Settings, inputs: TrainingInputs, job: TrainJob) -> dict[str, Any]:
    """Return the parameters by which MLflow compares runs."""
    parts = {part: getattr(job, part).model_dump(mode="json") for part in LEARNS_FROM[settings.train.recipe]}
    return {**inputs.about(settings), **flat(parts), "train.recipe": settings.train.recipe}


def resume_run(settings: Settings, name: str) -> RegisteredTower:
    """Continue an interrupted run in its MLflow run. Of `settings`, only the storage root is used."""
    record = find_run(settings.place, name, TowerRun)
    # Encoders trained below the storage root moved with it.
    encoders = {**record.settings["encoders"], "storage": None}
    original = Settings(**{**record.settings, "storage": settings.storage, "encoders": encoders})
    inputs = inputs_of(original)
    record.check_unchanged(features=inputs.features, interactions=inputs.interactions_digest)
    step(f"Continuing {record.name}: {original.train.epochs} epochs, {original.train.workers} workers")
    remedy = _remedy(original, record.name)
    with tracked(original.place, record.name, {}, {}, run_id=record.run_id, remedy=remedy):
        return _train_and_register(original, inputs, job_of(original, inputs)[0], record)


def features(settings: Settings) -> FeatureStore:
    """Return the feature store of the configured encoders. Raises NoFeatures before the first extraction."""
    return open_store(settings.place, settings.encoder_key)


def inputs_of(settings: Settings) -> TrainingInputs:
    """Return the features and interactions that the settings name. Raises NoFeatures."""
    store, table = features(settings), _interactions(settings)
    words = mean_words(store, settings.encoders, settings.weights_cache, settings.splits)
    return TrainingInputs(store, store.fingerprint(), table, _digest(settings, table), words)


def trained_already(settings: Settings, store: FeatureStore) -> Version | None:
    """Return the latest version trained on exactly these features, settings and interactions, if any."""
    training = training_digest(settings, _digest(settings, _interactions(settings)))
    return registry.trained_on(store.fingerprint(), training)


def _interactions(settings: Settings) -> pa.Table | None:
    return None if settings.interactions is None else read_interactions(settings.interactions)


def _behaviour(settings: Settings) -> pa.Table | None:
    """Return the interactions with what was shown and not watched, if the pairs need it."""
    needed = settings.interactions is not None and settings.pairs.of_behaviour
    return read_behaviour(str(settings.interactions)) if needed else None


def _digest(settings: Settings, interactions: pa.Table | None) -> str:
    behaviour = _behaviour(settings)
    return interactions_digest(interactions if behaviour is None else behaviour)


def _train_and_register(settings: Settings, inputs: TrainingInputs, job: TrainJob, record: TowerRun) -> RegisteredTower:
    place, journal = settings.place, Journal(settings.place.root, record.name)
    uri, about = use_tracking(place), inputs.about(settings)
    earlier = registry.trained_on(about["features"], about["training"])
    if earlier and earlier.run_id == record.run_id:
        record.done(place, earlier.number)
        return RegisteredTower(earlier, None, {})
    use_ray()
    trained = train(job, record.name, [EpochMetrics(journal, uri, record.run_id)])
    journal.deliver(uri, record.run_id)
    choice = _choose_smoothing(job, trained.selected)
    with trained.checkpoint.as_directory() as folder, tempfile.TemporaryDirectory() as scratch:
        tower = load_tower(Path(folder))
        tower.smoothing = Smoothing() if choice is None else choice.smoothing
        users = attach_users(tower, job, settings.user_tower, partial(choose_in_parallel, name=record.name))
        log_metrics({} if users is None else users.metrics)
        facts_of = {**trained.metrics, "selected by": trained.score, **averaging(choice), **about_users(users)}
        facts_of["git commit"] = git_commit()
        save_tower(tower, Path(scratch))
        version = registry.register(Path(scratch), about, facts_of)
    record.done(place, version.number)
    _show(f"Best of {trained.epochs} epochs by {trained.score}", trained.metrics)
    if trained.refit is not None:
        note(f"Trained again on training and validation videos for {trained.refit} epochs (train.refit).")
    show_averaging(choice)
    show_users(users)
    return RegisteredTower(version, trained.epochs, {**trained.metrics, **averaged_score(choice)})


def _choose_smoothing(job: TrainJob, selected: Checkpoint) -> SmoothingChoice | None:
    """Choose by the tower that has not seen the validation videos."""
    task = prepare(job).validation
    with selected.as_directory() as folder:
        return choose_smoothing(embed(load_tower(Path(folder)), task.matrix), task)


def averaged_score(choice: SmoothingChoice | None) -> dict[str, float]:
    """Return the validation score with averaged vectors, if a release will average them."""
    if choice is None or not choice.is_measured or not choice.smoothing.neighbours:
        return {}
    return {AVERAGED_SCORE: choice.score}


def averaging(choice: SmoothingChoice | None) -> dict[str, str]:
    """Return what the model card says of the smoothing."""
    return {} if choice is None else {"vectors averaged with": str(choice)}


def show_averaging(choice: SmoothingChoice | None) -> None:
    """Say how a release will average its vectors, and why."""
    if choice is not None:
        note(f"In a release, vectors are averaged with those of their nearest videos: {choice} (release.smoothing).")


def about_users(choice: UserChoice | None) -> dict[str, str]:
    """Return what the model card says of the user tower."""
    return {} if choice is None else {"user tower": str(choice)}


def show_users(choice: UserChoice | None) -> None:
    """Say whether a release will have a user tower, and why."""
    if choice is not None:
        note(f"User tower: {choice} (user_tower.mode).")


def _show(title: str, numbers: Mapping[str, float]) -> None:
    """Show metrics at length 10; MLflow and --json have the others."""
    rows = {key: f"{value:.4g}" for key, value in numbers.items() if "@" not in key or key.endswith("@10")}
    console.print(facts(title, rows))


def job_of(settings: Settings, inputs: TrainingInputs) -> tuple[TrainJob, PairRecipe]:
    """Return what is sent to the workers, and the recipe that the data allow."""
    job = TrainJob(
        storage=settings.place.root,
        key=inputs.store.key,
        features=inputs.features,
        tower=settings.tower,
        train=settings.train,
        splits=settings.splits,
        loss=settings.loss,
        pairs=settings.pairs,
        evaluation=settings.evaluation,
        interactions=inputs.interactions,
        frozen=settings.frozen,
        words=inputs.words,
        behaviour=_behaviour(settings),
    )
    return with_recipe(job)


def _remedy(settings: Settings, name: str) -> str:
    resume = next_command("train", settings, None, [], "--resume", name)
    return f"The trained epochs are kept. When MLflow is back, continue and register with: {resume}"


def interactions_digest(table: pa.Table | None) -> str:
    """Return a digest of all interactions, NO_INTERACTIONS if there are none."""
    if table is None:
        return NO_INTERACTIONS
    sink = pa.BufferOutputStream()
    with pa.ipc.new_stream(sink, table.schema) as out:
        out.write_table(table.combine_chunks())
    return hashlib.blake2b(sink.getvalue(), digest_size=8).hexdigest()


def training_digest(settings: Settings, interactions: str) -> str:
    """Return a digest of all settings and interactions that change the tower."""
    learned = set(LEARNS_FROM[settings.train.recipe])
    # That of frozen features shows in which parts there are.
    parts = settings.model_dump(mode="json", include=learned, exclude={"train": _EXECUTION})
    if settings.train.recipe == "probe":
        parts |= {"probe": settings.train.refit}
    # Of the other parts, only the definitions of a user's vector and of co-watching influence which epoch is best.
    selection = settings.evaluation.model_dump(include={"history", "co_watch_window_s"})
    if interactions != NO_INTERACTIONS:
        parts |= settings.model_dump(mode="json", include={"user_tower"})
    text = json.dumps({**parts, "evaluation": selection, "interactions": interactions}, sort_keys=True)
    return hashlib.blake2b(text.encode(), digest_size=8).hexdigest()


def flat(parts: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return settings by their dotted names, for comparing runs in MLflow."""
    return {f"{part}.{key}": value for part, values in parts.items() for key, value in values.items()}

"""The commands as functions, for notebooks and scripts: `rayreel.extract`, `train`, `evaluate`, `promote`, `recommend`.

Each function shows what its command shows, returns a typed result and raises a `RayreelError`. All take the settings in
the same way: `storage`, the storage root; `sets`, single settings such as `{"train.epochs": 5}`; or `settings`, all of
them as a `Settings` object. What is not passed comes from RAYREEL_* variables and defaults, as in the commands. Ray is
joined if a cluster runs, and started for this process otherwise.
"""

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike

from rayreel.catalog.read import read_catalog
from rayreel.cli.steps.evaluate import evaluate_tower
from rayreel.cli.steps.extract import extract_features
from rayreel.cli.steps.local import local_release
from rayreel.cli.steps.promote import promote_tower
from rayreel.cli.steps.sample import make_sample, sample_folder
from rayreel.cli.steps.train import RegisteredTower, resume_run, train_tower
from rayreel.client.messages import RecommendRequest, User
from rayreel.evaluation.evaluate import Evaluation
from rayreel.features.extract import ExtractReport
from rayreel.recommendation.recommend import parsed
from rayreel.recommendation.results import RankedResults
from rayreel.release import registry
from rayreel.release.promote import Promotion
from rayreel.release.registry import Version
from rayreel.settings import Settings, SettingsError, load_settings
from rayreel.training.tracking import use_tracking

__all__ = ["evaluate", "extract", "promote", "recommend", "sample", "train"]

Folder = str | Path
Sets = Mapping[str, object]


def sample(
    folder: Folder | None = None,
    *,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
) -> Path:
    """Render a labelled sample set with simulated viewers and return its catalog. The default is `<storage>/sample`.

    >>> catalog = rayreel.sample(storage="demo", sets={"sample.clips": 48, "sample.categories": 4})
    """
    chosen = _settings(storage, sets, settings)
    return make_sample(chosen, sample_folder(chosen) if folder is None else Path(folder))


def extract(
    catalog: Folder,
    *,
    add: bool = False,
    retry_quarantined: bool = False,
    max_failures: int | None = None,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
) -> ExtractReport:
    """Turn a catalog, a folder of videos or a manifest, into features; only new and changed videos are processed.

    `add` adds the catalog to the current one instead of replacing it. `retry_quarantined` retries videos that earlier
    runs quarantined. With more than `max_failures` quarantined rows, TooManyFailures is raised.

    >>> report = rayreel.extract("demo/sample/catalog.csv", storage="demo")
    """
    chosen = _settings(storage, sets, settings)
    return extract_features(
        chosen,
        read_catalog(str(catalog), chosen.limits),
        retry_quarantined=retry_quarantined,
        max_failures=max_failures,
        adding=add,
    )


def train(
    *,
    resume: str | None = None,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
) -> RegisteredTower:
    """Train a tower on the extracted features; the best epoch becomes a version in MLflow, the challenger.

    `resume` continues an interrupted run, "last" the latest, with the settings that it started with.

    >>> tower = rayreel.train(storage="demo", sets=sets)
    """
    if resume is None:
        return train_tower(_settings(storage, sets, settings))
    if sets:
        raise SettingsError("resume uses the settings that the run started with. Pass no sets.")
    return resume_run(_settings(storage, sets, settings), resume)


def evaluate(
    version: RegisteredTower | int | str = "challenger",
    *,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
) -> Evaluation:
    """Measure a tower on the videos that its training held out, beside baselines.

    `version` is the result of `train`, or a number or an alias in MLflow.

    >>> evaluation = rayreel.evaluate(tower, storage="demo")
    """
    chosen = _settings(storage, sets, settings)
    use_tracking(chosen.place)
    return evaluate_tower(chosen, _version(version))


def promote(
    version: RegisteredTower | int | str = "challenger",
    *,
    force: str | None = None,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
) -> Promotion:
    """Run a tower's gates, build its index and let it serve. Raises PromotionRefused if a gate fails.

    `force` is the reason, kept in the audit trail, for a promotion despite failed quality gates.

    >>> promotion = rayreel.promote(tower, storage="demo", force="the first tower")
    """
    chosen = _settings(storage, sets, settings)
    use_tracking(chosen.place)
    return promote_tower(chosen, _version(version), force)


def recommend(
    *,
    video_id: str | None = None,
    text: str | None = None,
    embedding: ArrayLike | None = None,
    user: Mapping[str, object] | User | None = None,
    top_k: int = 10,
    storage: Folder | None = None,
    sets: Sets | None = None,
    settings: Settings | None = None,
    **options: object,
) -> RankedResults:
    """Recommend videos for exactly one query from the release that was promoted last, without a running service.

    `user` is `{"history": [...], "liked_categories": [...]}`. Options are those of `POST /v1/recommend`: filter,
    weights, exclude, diversity, cross_category, serendipity, hybrid, threshold and explain. The release, its tower and
    the text encoder stay in memory for the next call. Only large releases use the index, and Ray for it.

    Raises:
        BadQuery, UnknownVideo, BadFilter: the query is invalid.
        NoRelease: nothing has been promoted.

    >>> similar = rayreel.recommend(text="waves at the beach", top_k=3, storage="demo")
    """
    numbers = None if embedding is None else np.asarray(embedding, np.float64).tolist()
    query = {"video_id": video_id, "text": text, "embedding": numbers, "user": user, "top_k": top_k}
    request = parsed(RecommendRequest, query | options)
    return local_release(_settings(storage, sets, settings)).recommend(request)


def _version(version: RegisteredTower | int | str) -> Version:
    return version.version if isinstance(version, RegisteredTower) else registry.resolve(str(version))


def _settings(storage: Folder | None, sets: Sets | None, settings: Settings | None) -> Settings:
    if settings is None:
        lines = [f"{name}={json.dumps(value, default=str)}" for name, value in (sets or {}).items()]
        return load_settings(sets=lines, storage=None if storage is None else str(storage))
    if sets or storage is not None:
        raise SettingsError("A Settings object is complete. Pass either settings, or storage and sets.")
    return settings

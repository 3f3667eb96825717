"""The model registry: towers as numbered versions of `rayreel-tower`, aliases for their roles."""

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException
from mlflow.models.model import ModelInfo

from rayreel.errors import RayreelError
from rayreel.release.config import SmoothingMode
from rayreel.release.model import ARTIFACT, input_example, signature
from rayreel.tower.config import Smoothing
from rayreel.tower.embedder import Embedder
from rayreel.tower.save import load_tower
from rayreel.training.tracking import TrackingUnavailable

MODEL = "rayreel-tower"
# MLflow's error codes for a model, version or alias that does not exist; other codes are server errors.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
CHALLENGER, CHAMPION = "challenger", "champion"
_NEEDED = ("rayreel", "torch", "safetensors", "pydantic", "pyarrow", "numpy", "pandas")
# Clears the tags of an earlier attempt to follow MLflow's champion to a version.
UNFOLLOWED: dict[str, str | None] = dict.fromkeys(
    ("follow", "follow_reason", "follow_gates", "follow_at", "follow_basis")
)


class NoSuchVersion(RayreelError):
    """The registry has no such version or alias."""


class NotATower(RayreelError):
    """A version was not registered by training."""


@dataclass(frozen=True, slots=True)
class Version:
    """A registered tower, its run, and the features and configuration that it was trained with."""

    number: int
    run_id: str
    encoder_key: str
    features: str = field(repr=False)
    training: str = field(repr=False)

    @property
    def uri(self) -> str:
        """The URI by which MLflow loads the version."""
        return f"models:/{MODEL}/{self.number}"


def register(tower_folder: Path, tags: dict[str, str], facts: dict[str, Any]) -> Version:
    """Log a tower saved by `save_tower` to the active run and make it the registry's newest version and challenger.

    `tags` need `encoder_key`, `features` (the store's fingerprint) and `training` (digest of the configuration); the
    tags `kind` and `smoothing` are added. `facts` go into the model card.
    """
    tower = load_tower(tower_folder)
    tags = {"kind": tower.kind, "smoothing": str(tower.smoothing), **tags}
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / ARTIFACT
        shutil.copytree(tower_folder, folder, ignore=shutil.ignore_patterns("*.pt", ".*"))
        (folder / "model_card.md").write_text(model_card(MODEL, {**facts, **tags}))
        logged = mlflow.pyfunc.log_model(
            name=ARTIFACT,
            python_model=str(Path(__file__).with_name("model_code.py")),
            artifacts={ARTIFACT: str(folder)},
            signature=signature(),
            input_example=input_example(tower),
            pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
        )
    return _registered(logged, tags)


def resolve(name: str) -> Version:
    """Return the version with this number or alias. Raises NoSuchVersion, NotATower, TrackingUnavailable."""
    client = mlflow.MlflowClient()
    ask = client.get_model_version if name.isdigit() else client.get_model_version_by_alias
    try:
        found = ask(MODEL, name)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise TrackingUnavailable.of(error) from error
        raise NoSuchVersion(
            f"{MODEL} has no {name!r} in the registry at {mlflow.get_registry_uri()}. Run `rayreel train` first."
        ) from None
    tags = found.tags
    if missing := [tag for tag in ("encoder_key", "features", "training") if tag not in tags]:
        raise NotATower(
            f"Version {found.version} of {MODEL} has no tag {', '.join(missing)}: it was not registered by "
            "`rayreel train`, so its features are unknown. Choose another version."
        )
    return Version(int(found.version), found.run_id, tags["encoder_key"], tags["features"], tags["training"])


def pointed_at(alias: str) -> int | None:
    """The number of the version that an alias points at, valid tower or not; None if the alias is not set."""
    try:
        return int(mlflow.MlflowClient().get_model_version_by_alias(MODEL, alias).version)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise TrackingUnavailable.of(error) from error
        return None


def find(name: str) -> Version | None:
    """Like `resolve`, but None if there is no such version or alias."""
    try:
        return resolve(name)
    except NoSuchVersion:
        return None


def trained_on(features: str, training: str) -> Version | None:
    """The newest version trained on exactly these features with exactly this configuration."""
    wanted = f"name='{MODEL}' and tag.features='{features}' and tag.training='{training}'"
    found = mlflow.MlflowClient().search_model_versions(wanted)
    return resolve(str(max(int(version.version) for version in found))) if found else None


def load(version: Version, smoothing: SmoothingMode = "auto") -> Embedder:
    """The version's tower, on the CPU, ready to embed; `smoothing` other than auto overrules what it was saved with."""
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri))
    tower = load_tower(folder / "artifacts" / ARTIFACT)
    if smoothing != "auto":
        tower.smoothing = Smoothing() if smoothing == "off" else smoothing
    return tower


def crown(number: int) -> None:
    """Make the version the champion."""
    _ask(mlflow.MlflowClient().set_registered_model_alias, MODEL, CHAMPION, str(number))


def challenge(number: int | None) -> None:
    """Make the version the challenger; None: no version."""
    client = mlflow.MlflowClient()
    if number is not None:
        _ask(client.set_registered_model_alias, MODEL, CHALLENGER, str(number))
    elif pointed_at(CHALLENGER) is not None:
        _ask(client.delete_registered_model_alias, MODEL, CHALLENGER)


def tags(number: int) -> dict[str, str]:
    """The version's tags."""
    found: dict[str, str] = _ask(mlflow.MlflowClient().get_model_version, MODEL, str(number)).tags
    return dict(found)


def tag(version: int, **values: str | None) -> None:
    """Set tags of the version; None deletes a tag."""
    client, number, there = mlflow.MlflowClient(), str(version), tags(version)
    for name, value in values.items():
        if value is not None:
            _ask(client.set_model_version_tag, MODEL, number, name, value)
        elif name in there:
            _ask(client.delete_model_version_tag, MODEL, number, name)


def tags_of_all() -> dict[int, dict[str, str]]:
    """The tags of every version, by its number."""
    found = _ask(mlflow.MlflowClient().search_model_versions, f"name='{MODEL}'")
    return {int(version.version): dict(version.tags) for version in found}


def model_tags() -> dict[str, str]:
    """The tags of the registered model; empty before the first version."""
    found = _ask(mlflow.MlflowClient().search_registered_models, f"name='{MODEL}'")
    return dict(found[0].tags) if found else {}


def tag_model(name: str, value: str) -> None:
    """Set a tag of the registered model."""
    _ask(mlflow.MlflowClient().set_registered_model_tag, MODEL, name, value)


def _ask(call: Callable[..., Any], *args: Any) -> Any:  # noqa: ANN401
    try:
        return call(*args)
    except MlflowException as error:
        raise TrackingUnavailable.of(error) from error


def _registered(logged: ModelInfo, tags: dict[str, str]) -> Version:
    """Create a version with its tags. `registered_model_name` would print, and set the tags only afterwards."""
    client = mlflow.MlflowClient()
    try:
        client.create_registered_model(MODEL)
    except MlflowException as error:
        if error.error_code != "RESOURCE_ALREADY_EXISTS":
            raise
    source = f"models:/{logged.model_id}"
    number = client.create_model_version(MODEL, source, logged.run_id, tags, model_id=logged.model_id).version
    client.set_registered_model_alias(MODEL, CHALLENGER, str(number))
    return resolve(str(number))


def model_card(name: str, facts: dict[str, Any]) -> str:
    """Return Markdown with the intended use of the tower and the facts of its training."""
    rows = "\n".join(f"| {key} | {value} |" for key, value in facts.items())
    return f"""# {name}

Embeds short videos, or any part of one (frames, sound, text), as unit vectors; their cosine is the similarity.
Input: features of the frozen encoders named by `encoder_key`; it cannot use features of any other key.
Meant for content-based recommendation and search within catalogs like the one it was made from.
Not meant for recognising people, nor for judging quality or truth. It repeats the biases of its frozen encoders.

| fact | value |
|---|---|
{rows}
"""

"""The model registry: towers as numbered versions of `rayreel-tower`, aliases for their roles."""

import shutil
import tempfile
from dataclasses import dataclass
from importlib.metadata import version as installed
from pathlib import Path
from typing import Any

import mlflow
from mlflow.exceptions import MlflowException

from rayreel.errors import RayreelError
from rayreel.release.card import model_card
from rayreel.release.model import ARTIFACT, input_example, signature
from rayreel.tower.save import load_tower
from rayreel.tower.tower import VideoTower
from rayreel.training.tracking import TrackingUnavailable

MODEL = "rayreel-tower"
# What MLflow says of a model, version or alias that is not there; everything else is a fault of the server.
_ABSENT = ("RESOURCE_DOES_NOT_EXIST", "INVALID_PARAMETER_VALUE")
_INDEXED = "indexed_features"
CHALLENGER, CHAMPION = "challenger", "champion"
_NEEDED = ("rayreel", "torch", "safetensors", "pydantic", "pyarrow", "numpy", "pandas")


class NoSuchVersion(RayreelError):
    """The registry has no such version or alias."""


@dataclass(frozen=True, slots=True)
class Version:
    """One registered tower and what it belongs to."""

    number: int
    run_id: str
    encoder_key: str
    features: str
    training: str

    @property
    def uri(self) -> str:
        """What MLflow loads it by."""
        return f"models:/{MODEL}/{self.number}"


def register(tower_folder: Path, tags: dict[str, str], facts: dict[str, Any]) -> Version:
    """Log a tower saved by `save_tower` to the active run and make it the registry's newest version and challenger.

    `tags` need `encoder_key`, `features` (the store's fingerprint) and `training` (digest of the configuration);
    `facts` go into the model card.
    """
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch) / ARTIFACT
        shutil.copytree(tower_folder, folder, ignore=shutil.ignore_patterns("*.pt", ".*"))
        (folder / "model_card.md").write_text(model_card(MODEL, {**facts, **tags}))
        logged = mlflow.pyfunc.log_model(
            name=ARTIFACT,
            python_model=str(Path(__file__).with_name("model_code.py")),
            artifacts={ARTIFACT: str(folder)},
            signature=signature(),
            input_example=input_example(load_tower(folder)),
            registered_model_name=MODEL,
            pip_requirements=[f"{name}=={installed(name)}" for name in _NEEDED],
        )
    client = mlflow.MlflowClient()
    number = str(logged.registered_model_version)
    for key, value in tags.items():
        client.set_model_version_tag(MODEL, number, key, value)
    client.set_registered_model_alias(MODEL, CHALLENGER, number)
    return resolve(number)


def resolve(name: str) -> Version:
    """The version of a number or an alias. Raises NoSuchVersion."""
    client = mlflow.MlflowClient()
    ask = client.get_model_version if name.isdigit() else client.get_model_version_by_alias
    try:
        found = ask(MODEL, name)
    except MlflowException as error:
        if error.error_code not in _ABSENT:
            raise TrackingUnavailable.of(error) from error
        raise NoSuchVersion(
            f"{MODEL} has no {name!r} in the registry at {mlflow.get_registry_uri()}. Run jobs/train.py first."
        ) from None
    tags = found.tags
    return Version(int(found.version), found.run_id, tags["encoder_key"], tags["features"], tags["training"])


def find(name: str) -> Version | None:
    """As `resolve`, None when there is none."""
    try:
        return resolve(name)
    except NoSuchVersion:
        return None


def trained_on(features: str, training: str) -> Version | None:
    """The newest version trained on exactly these features with exactly this configuration."""
    wanted = f"name='{MODEL}' and tag.features='{features}' and tag.training='{training}'"
    found = mlflow.MlflowClient().search_model_versions(wanted)
    return resolve(str(max(int(version.version) for version in found))) if found else None


def load(version: Version) -> VideoTower:
    """The version's tower, on the CPU, ready to embed."""
    folder = Path(mlflow.artifacts.download_artifacts(artifact_uri=version.uri))
    return load_tower(folder / "artifacts" / ARTIFACT)


def crown(version: Version, indexed: str) -> None:
    """Make the version the champion; `indexed` is the fingerprint of the features its index was built from."""
    client = mlflow.MlflowClient()
    client.set_model_version_tag(MODEL, str(version.number), _INDEXED, indexed)
    client.set_registered_model_alias(MODEL, CHAMPION, str(version.number))


def indexed(version: Version) -> str | None:
    """The fingerprint of the features that the version's index was built from; None before its promotion."""
    tags: dict[str, str] = mlflow.MlflowClient().get_model_version(MODEL, str(version.number)).tags
    return tags.get(_INDEXED)

"""One typed tree of settings, made of the parts' own configs."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import yaml
from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict, YamlConfigSettingsSource

from rayreel.catalog.sample import SampleConfig
from rayreel.encoders.presets import EncodersConfig
from rayreel.errors import RayreelError
from rayreel.evaluation.splits import SplitConfig
from rayreel.features.config import ExtractConfig
from rayreel.index.config import IndexConfig
from rayreel.media.config import Limits, SamplingConfig
from rayreel.storage import Storage
from rayreel.tower.tower import TowerConfig
from rayreel.training.config import TrainConfig


class Settings(BaseSettings):
    """Where state lives and how each part works. Later sources win: defaults, YAML file, RAYREEL_* variables, --set."""

    model_config = SettingsConfigDict(
        env_prefix="RAYREEL_", env_nested_delimiter="__", extra="forbid", frozen=True, nested_model_default_partial_update=True
    )

    storage: str = Field("storage", description="folder or s3:// URI under which all state lives")
    sample: SampleConfig = SampleConfig()
    sampling: SamplingConfig = SamplingConfig()
    limits: Limits = Limits()
    encoders: EncodersConfig = EncodersConfig()
    extract: ExtractConfig = ExtractConfig()
    splits: SplitConfig = SplitConfig()
    tower: TowerConfig = TowerConfig()
    train: TrainConfig = TrainConfig()
    index: IndexConfig = IndexConfig()

    @property
    def place(self) -> Storage:
        """The storage root."""
        return Storage(self.storage)

    @property
    def weights_cache(self) -> Path:
        """Where downloaded encoder weights are kept."""
        return self.encoders.cache_dir or self.place.local("weights", what="encoders.cache_dir, unset,")


def load_settings(file: Path | None = None, sets: Sequence[str] = (), storage: str | None = None) -> Settings:
    """Resolve the tree. `sets` are `part.key=value`, values in YAML. Raises SettingsError in a user's words."""
    given = _nested(sets)
    if storage is not None:
        given["storage"] = storage
    if file is not None and not file.is_file():
        raise SettingsError(f"--config {file}: no such file")
    try:
        return _source(file)(**given)
    except ValidationError as error:
        raise SettingsError("\n".join(_complaint(problem) for problem in error.errors())) from None
    except yaml.YAMLError as error:
        raise SettingsError(f"--config {file} is no YAML: {error}") from None


class SettingsError(RayreelError):
    """A setting that does not exist or has a value it cannot have."""


def _source(file: Path | None) -> type[Settings]:
    """Settings with the YAML file as its lowest source; the file is known only when a job runs."""

    class FileSettings(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,
            dotenv_settings: PydanticBaseSettingsSource,
            file_secret_settings: PydanticBaseSettingsSource,
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return init_settings, env_settings, YamlConfigSettingsSource(settings_cls, yaml_file=file)

    return FileSettings


def _nested(sets: Sequence[str]) -> dict[str, Any]:
    tree: dict[str, Any] = {}
    for item in sets:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise SettingsError(f"--set {item}: expected part.key=value, such as train.epochs=5")
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
        node[leaf] = yaml.safe_load(value)
    return tree


def _complaint(problem: Any) -> str:  # noqa: ANN401
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"There is no setting {name}. {_known(problem['loc'])}"
    return f"{name} = {problem['input']!r}: {problem['msg']}"


def _known(location: Sequence[Any]) -> str:
    fields: dict[str, Any] = dict(Settings.model_fields)
    for part in location[:-1]:
        fields = dict(getattr(fields[part].annotation, "model_fields", {}))
    return f"There are: {', '.join(fields)}."

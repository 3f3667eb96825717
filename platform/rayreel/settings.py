"""The typed tree of settings, composed of the parts' configs."""

import re
from collections.abc import Mapping, Sequence
from functools import reduce
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, EnvSettingsSource, SettingsConfigDict
from pydantic_settings import SettingsError as UnreadableVariable

from rayreel.access.config import ServeConfig
from rayreel.catalog.sample.config import SampleConfig
from rayreel.compat.ray_cluster import in_submitted_job
from rayreel.encoders.adopted import adopted_encoders
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.registry import Modality
from rayreel.enrichment.config import EnrichConfig
from rayreel.errors import RayreelError
from rayreel.evaluation.config import EvaluationConfig, SplitConfig
from rayreel.events.config import EventsConfig
from rayreel.features.config import ExtractConfig
from rayreel.features.key import key_name
from rayreel.index.config import IndexConfig
from rayreel.media.config import Limits, SamplingConfig
from rayreel.recommendation.config import RecommendConfig
from rayreel.release.config import ReleaseConfig
from rayreel.speech.config import SpeechConfig
from rayreel.tower.config import FrozenConfig, TowerConfig, UserTowerConfig
from rayreel.tower.losses.config import LossConfig
from rayreel.training.action.config import ActionConfig
from rayreel.training.config import TrainConfig
from rayreel.training.pairs.config import PairsConfig

if TYPE_CHECKING:
    from rayreel.features.pipeline import Pipeline
    from rayreel.release.registry import Version
    from rayreel.release.site import Site
    from rayreel.speech.find import Speech
    from rayreel.storage import Storage


Tree = dict[str, Any]


class Settings(BaseSettings):
    """All settings. Later sources take precedence: defaults, YAML file, RAYREEL_* variables, --set."""

    model_config = SettingsConfigDict(
        env_prefix="RAYREEL_",
        env_nested_delimiter="__",
        extra="forbid",
        frozen=True,
        nested_model_default_partial_update=True,
    )

    storage: str = Field("storage", description="storage root: folder or s3:// URI for all state")
    sample: SampleConfig = SampleConfig()
    limits: Limits = Field(Limits(), validate_default=True)
    encoders: EncodersConfig = EncodersConfig()
    sampling: SamplingConfig = SamplingConfig()
    speech: SpeechConfig = SpeechConfig()
    extract: ExtractConfig = ExtractConfig()
    enrich: EnrichConfig = EnrichConfig()
    interactions: str | None = Field(None, description="users' interactions: CSV, Parquet or RecBole .inter file")
    splits: SplitConfig = SplitConfig()
    tower: TowerConfig = TowerConfig()
    frozen: FrozenConfig = FrozenConfig()
    user_tower: UserTowerConfig = UserTowerConfig()
    loss: LossConfig = LossConfig()
    pairs: PairsConfig = PairsConfig()
    train: TrainConfig = TrainConfig()
    action: ActionConfig = ActionConfig()
    evaluation: EvaluationConfig = EvaluationConfig()
    index: IndexConfig = IndexConfig()
    release: ReleaseConfig = ReleaseConfig()
    events: EventsConfig = EventsConfig()
    recommend: RecommendConfig = RecommendConfig()
    serve: ServeConfig = ServeConfig()

    @field_validator("encoders", mode="before")
    @classmethod
    def _trained_encoders_are_below_the_root(cls, tree: Any, info: ValidationInfo) -> Any:  # noqa: ANN401
        unset = isinstance(tree, dict) and tree.get("storage") is None
        return {**tree, "storage": info.data.get("storage")} if unset else tree

    @field_validator("limits")
    @classmethod
    def _state_is_below_the_root(cls, limits: Limits, info: ValidationInfo) -> Limits:
        return limits if limits.state is not None else limits.model_copy(update={"state": info.data.get("storage")})

    @field_validator("sampling")
    @classmethod
    def _windows_match_the_encoder(cls, sampling: SamplingConfig, info: ValidationInfo) -> SamplingConfig:
        encoders: EncodersConfig | None = info.data.get("encoders")
        root = str(info.data.get("storage"))
        return sampling if encoders is None else encoders.sampled(sampling, lambda: _weights_cache(encoders, root))

    @field_validator("extract")
    @classmethod
    def _nvdec_is_possible(cls, extract: ExtractConfig, info: ValidationInfo) -> ExtractConfig:
        limits: Limits | None = info.data.get("limits")
        sampling: SamplingConfig | None = info.data.get("sampling")
        if extract.nvdec and limits is not None and limits.require_sandbox:
            raise ValueError("nvdec decodes outside the sandbox, and limits.require_sandbox is set; unset one")
        if extract.nvdec and sampling is not None and not sampling.is_exact:
            raise ValueError(
                "nvdec needs sampling.mode=exact or keyframe: in mode auto CPUs skip deblocking, which NVDEC cannot, "
                "so features would depend on the node"
            )
        return extract

    @property
    def place(self) -> "Storage":
        """The storage root."""
        from rayreel.storage import Storage

        return Storage(self.storage)

    @property
    def weights_cache(self) -> Path:
        """Folder of downloaded encoder weights."""
        return _weights_cache(self.encoders, self.storage)

    @property
    def pipeline(self) -> "Pipeline":
        """The extraction pipeline of these settings."""
        from rayreel.features.pipeline import Pipeline

        return Pipeline(self.encoders, self.limits, self.extract, self.weights_cache, speech=self.found_speech)

    @property
    def found_speech(self) -> "Speech | None":
        """The speech recognition to use; downloads its model if speech.mode is on. Raises RayreelError."""
        from rayreel.speech.find import find_speech

        return find_speech(self.speech, self.encoders.weights_dir, self.weights_cache)

    @property
    def encoder_key(self) -> str:
        """Name of the feature store for these encoders and this sampling. Needs the encoders' weights."""
        from rayreel.encoders.load import encoder_identities

        return key_name(encoder_identities(self.encoders, self.weights_cache), self.sampling)

    def site(self) -> "Site":
        """Return the release site of these settings. Milvus Lite needs a running Ray. Raises IndexUnavailable."""
        from rayreel.encoders.load import load_word_encoders
        from rayreel.index.connect import connect
        from rayreel.release.site import Site

        return Site(
            storage=self.place,
            client=connect(self.index, self.milvus_dir),
            index=self.index,
            release=self.release,
            evaluation=self.evaluation,
            word_encoders=lambda: load_word_encoders(self.encoders, self.weights_cache),
            interactions=self.interactions,
        )

    def with_encoders(self, trained: Tree, chosen: Mapping[Modality, str] = MappingProxyType({})) -> "Settings":
        """Return these settings with the encoders and the sampling of a run's settings, and those `chosen` instead."""
        encoders = EncodersConfig.model_validate({**trained.get("encoders", {}), "storage": self.encoders.storage})
        names: Tree = {m.value: name for m, name in {**encoders.resolve(), **chosen}.items()}
        names["text_weights"] = encoders.text_weights
        # Window and shape are the visual encoder's own.
        own = {"window": 1, "squeeze": self.sampling.squeeze}
        sampling = {**self.sampling.model_dump(), **trained.get("sampling", {}), **own}
        return Settings(**self.model_dump() | {"encoders": self.encoders.model_dump() | names, "sampling": sampling})

    def of_release(self, version: "Version") -> "Settings":
        """Return these settings with the encoders and the sampling that a version's features were extracted with.

        Raises OtherEncoders if the settings of its training would give other features here.
        """
        from rayreel.training.tracking import run_config

        # First those of the run: the weights of the settings' own may not be here, and need not be.
        found = self.with_encoders(run_config(version.run_id))
        if found.encoder_key != version.encoder_key:
            if self.encoder_key == version.encoder_key:
                return self
            raise OtherEncoders(
                f"Release {version.number} reads features of {version.encoder_key}, but its encoders are "
                f"{found.encoder_key} here. Use the same weights and encoders.precision as when it was made."
            )
        return found

    @property
    def milvus_dir(self) -> Path | None:
        """Data folder of Milvus Lite; None if the storage root is not a local folder."""
        return self.place.local("milvus", what="Milvus Lite") if self.place.is_local else None


def _weights_cache(encoders: EncodersConfig, root: str) -> Path:
    from rayreel.storage import Storage

    return encoders.cache_dir or Storage(root).local("weights", what="encoders.cache_dir, unset,")


def load_settings(
    file: Path | None = None, sets: Sequence[str] = (), storage: str | None = None, defaults: Sequence[str] = ()
) -> Settings:
    """Load the settings. `sets` and `defaults` are `part.key=value`, with values in YAML. Raises SettingsError.

    All other sources take precedence over `defaults`, and over the encoders adopted below the storage root.

    >>> settings = load_settings(sets=["train.epochs=5", "tower.modalities=[visual, text]"], storage="demo")
    >>> settings.train.epochs, settings.encoders.preset
    (5, 'laptop')
    >>> load_settings(sets=["splits.tset=0.3"])
    Traceback (most recent call last):
    rayreel.settings.SettingsError: There is no setting splits.tset. Known settings: validation, test, group_by, ...
    """
    overrides = nested(sets)
    if storage is not None:
        overrides["storage"] = storage
    try:
        sources = (nested(defaults), _from_file(file), EnvSettingsSource(Settings)(), overrides)
        settings = Settings(**_with_adopted(reduce(_merged, sources)))
    except ValidationError as error:
        raise SettingsError("\n".join(_message(problem) for problem in error.errors())) from None
    except UnreadableVariable as error:
        raise SettingsError(f"RAYREEL_ variables: {error}. Set one value each: RAYREEL_TRAIN__EPOCHS=5") from None
    _require_permanent(settings.storage)
    return settings


def _with_adopted(tree: Tree) -> Tree:
    """Add the encoders adopted below the storage root, unless the settings choose any.

    Not from an object store, so that reading settings needs no network: there, `rayreel extract` compares them.
    """
    root = str(tree.get("storage", Settings.model_fields["storage"].default))
    if {"preset", *Modality} & tree.get("encoders", {}).keys() or "://" in root:
        return tree
    found = adopted_encoders(root)
    return tree if found is None else _merged({"encoders": {m.value: name for m, name in found.names.items()}}, tree)


def _require_permanent(storage: str) -> None:
    """Reject a relative storage root in a submitted Ray job, whose working directory is a copy that Ray deletes."""
    relative = "://" not in storage and not Path(storage).expanduser().is_absolute()
    if relative and in_submitted_job():
        raise SettingsError(
            f"storage = {storage!r}: a Ray job runs in a temporary folder ({Path.cwd()}), which Ray deletes with its "
            "content. Use an absolute path or an s3:// root that every machine of the cluster can reach: "
            "`ray job submit … -- python jobs/train.py --storage /path/to/storage`, or set RAYREEL_STORAGE in the "
            "environment of `ray start`."
        )


class OtherEncoders(RayreelError):
    """A release's encoders are not what they were when its features were extracted."""


class SettingsError(RayreelError):
    """A setting does not exist or has an invalid value."""


class _Loader(yaml.SafeLoader):
    """YAML loader that reads 1:4 as text; YAML 1.1 reads it as the base-60 number 64."""


_INTEGER = re.compile(r"[-+]?(0b[01_]+|0x[0-9a-fA-F_]+|0[0-7_]*|[1-9][0-9_]*)$")
_Loader.yaml_implicit_resolvers = {
    first: [(tag, pattern) for tag, pattern in known if tag != "tag:yaml.org,2002:int"]
    for first, known in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver("tag:yaml.org,2002:int", _INTEGER, list("-+0123456789"))


def _yaml(text: str) -> Any:  # noqa: ANN401
    return yaml.load(text, _Loader)  # noqa: S506 - a subclass of SafeLoader


def _from_file(file: Path | None) -> dict[str, Any]:
    if file is None:
        return {}
    try:
        tree = _yaml(file.read_text())
    except OSError as error:
        raise SettingsError(f"--config {file}: {error.strerror}") from None
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {file} is not valid YAML: {error}") from None
    if not isinstance(tree or {}, dict):
        raise SettingsError(f"--config {file}: expected settings such as `train: {{epochs: 5}}`")
    return tree or {}


def _merged(under: dict[str, Any], over: dict[str, Any]) -> dict[str, Any]:
    """Merge two trees recursively; values of `over` take precedence."""
    parts = {k: _merged(under[k], v) for k, v in over.items() if isinstance(v, dict) and isinstance(under.get(k), dict)}
    return {**under, **over, **parts}


def nested(items: Sequence[str], flag: str = "--set", example: str = "part.key=value, such as train.epochs=5") -> Tree:
    """Return `part.key=value` items of a command's option as a tree; values are YAML. Raises SettingsError."""
    tree: Tree = {}
    for item in items:
        name, sign, value = item.partition("=")
        if not sign or not name:
            raise SettingsError(f"{flag} {item}: expected {example}")
        *parents, leaf = name.split(".")
        node = tree
        for parent in parents:
            node = node.setdefault(parent, {})
            if not isinstance(node, dict):
                raise SettingsError(f"{flag} {item}: an earlier {flag} gives {parent} the value {node!r}")
        try:
            node[leaf] = _yaml(value)
        except yaml.YAMLError as error:
            raise SettingsError(f"{flag} {item}: {value!r} is not valid YAML: {error}") from None
    return tree


def _message(problem: Any) -> str:  # noqa: ANN401
    name = ".".join(str(part) for part in problem["loc"])
    if problem["type"] == "extra_forbidden":
        return f"There is no setting {name}. Known settings: {_siblings(problem['loc'])}."
    return f"{name} = {problem['input']!r}: {problem['msg']}"


def _siblings(location: Sequence[Any]) -> str:
    fields: dict[str, Any] = dict(Settings.model_fields)
    for part in location[:-1]:
        fields = dict(getattr(fields[part].annotation, "model_fields", {}))
    return ", ".join(fields)

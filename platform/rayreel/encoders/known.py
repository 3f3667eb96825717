"""Every encoder that can be named: what it gives, under which licence, and in which presets it is."""

from dataclasses import dataclass, replace
from pathlib import Path

from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import Modality
from rayreel.encoders.hub import checkpoint_here
from rayreel.encoders.hub_files import licence_of
from rayreel.encoders.registry import BUNDLES, ENCODERS, NAMED_CHECKPOINTS, PRESETS, EncoderSpec, checkpoint_of
from rayreel.encoders.trained import UnknownEncoder, read_facts, trained_names

YOURS = "yours"


@dataclass(frozen=True, slots=True)
class KnownEncoder:
    """An encoder by name. `dim` is None and `licence` unknown until a checkpoint that is not named here is loaded."""

    modality: Modality
    name: str
    dim: int | None
    licence: str

    @property
    def label(self) -> str:
        """Its name, after its modality unless only this modality has an encoder of the name."""
        of = [modality for modality in Modality if self.name in {**ENCODERS[modality], **NAMED_CHECKPOINTS[modality]}]
        return self.name if of == [self.modality] else f"{self.modality.value}:{self.name}"

    @property
    def presets(self) -> list[str]:
        """The presets that name it."""
        return [preset for preset, names in PRESETS.items() if names[self.modality] == self.name]

    @property
    def setting(self) -> str:
        """The setting that chooses it, such as encoders.visual=resnet50."""
        return f"encoders.{self.modality.value}={self.name}"

    def config(self, config: EncodersConfig) -> EncodersConfig:
        """Return the configuration with this encoder for its modality."""
        return EncodersConfig.model_validate(config.model_dump() | {self.modality.value: self.name})


def known_encoders(config: EncodersConfig) -> list[KnownEncoder]:
    """Return all encoders with a name, and those trained below the storage root, by modality."""
    return [known for modality in Modality for known in _of_modality(modality, config)]


def usual_encoders(config: EncodersConfig) -> list[KnownEncoder]:
    """Return the known encoders without torchaudio's bundles: a dozen speech networks of up to gigabytes."""
    return [one for one in known_encoders(config) if one.name not in BUNDLES]


def named_encoders(names: str, config: EncodersConfig, cache_dir: Path) -> list[KnownEncoder]:
    """Return the encoders of a list separated by commas, such as mobilenet_v2,text:clip_vit_b32,hf:OWNER/NAME.

    A name stands for every modality that has it, unless `MODALITY:` precedes it. A checkpoint without a name here is a
    frame encoder, unless its modality precedes it. Raises UnknownEncoder.
    """
    known, chosen = known_encoders(config), list[KnownEncoder]()
    for item in filter(None, (part.strip() for part in names.split(","))):
        modality, name = _split(item)
        of_name = [one for one in known if one.name == name and modality in {None, one.modality}]
        chosen += of_name or [_other(modality or Modality.VISUAL, name, known, config, cache_dir)]
    return list(dict.fromkeys(chosen))


def with_card(one: KnownEncoder, config: EncodersConfig, cache_dir: Path) -> KnownEncoder:
    """Return a checkpoint without a name here with the licence that its card states, if it is here by now."""
    checkpoint = checkpoint_of(one.modality, one.name) if one.dim is None else None
    folder = None if checkpoint is None else checkpoint_here(checkpoint, config.weights_dir, cache_dir)
    return one if folder is None else replace(one, licence=licence_of(folder))


def _split(item: str) -> tuple[Modality | None, str]:
    before, colon, name = item.partition(":")
    return (Modality(before), name) if colon and before in set(Modality) else (None, item)


def _of_modality(modality: Modality, config: EncodersConfig) -> list[KnownEncoder]:
    specs = ENCODERS[modality] | (BUNDLES if modality is Modality.AUDIO else {})
    networks = [KnownEncoder(modality, name, spec.dim or None, _licence(spec)) for name, spec in specs.items()]
    named = NAMED_CHECKPOINTS[modality].items()
    checkpoints = [KnownEncoder(modality, name, one.dim, one.licence) for name, one in named]
    trained = [_trained(name, config) for name in trained_names(config.storage) if modality is Modality.VISUAL]
    return [*networks, *checkpoints, *trained]


def _licence(spec: EncoderSpec) -> str:
    return spec.licence or ("" if spec.weights is None else spec.weights.licence)


def _trained(name: str, config: EncodersConfig) -> KnownEncoder:
    facts = read_facts(name, config.storage)
    return KnownEncoder(Modality.VISUAL, name, None if facts is None else facts.network.channels[-1], YOURS)


def _other(
    modality: Modality, name: str, known: list[KnownEncoder], config: EncodersConfig, cache_dir: Path
) -> KnownEncoder:
    checkpoint = checkpoint_of(modality, name)
    if checkpoint is None and not (modality is Modality.VISUAL and "/" in name and read_facts(name, config.storage)):
        names = ", ".join(one.label for one in known)
        raise UnknownEncoder(
            f"No encoder {name!r}. Choose from: {names}. Or pass hf:OWNER/NAME@REVISION or a folder, with audio: or "
            "text: before it unless it is for frames."
        )
    if checkpoint is None:
        return _trained(name, config)
    return with_card(KnownEncoder(modality, name, None, "not known before a download"), config, cache_dir)

"""Load the three encoders of a configuration."""

import pkgutil
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any

import torch

from rayreel.encoders.compute import compute_of, quantiser
from rayreel.encoders.config import EncodersConfig
from rayreel.encoders.encoder import AudioEncoder, FrameEncoder, Modality, TextEncoder, WordEncoders
from rayreel.encoders.hub import checkpoint_folder, repo_or_folder
from rayreel.encoders.hub_files import digest_of, format_of, has_text_side, licence_of
from rayreel.encoders.locate import locate, sha256_of
from rayreel.encoders.passes import PassMeter
from rayreel.encoders.registry import checkpoint_of, spec_of
from rayreel.encoders.trained import read_facts
from rayreel.encoders.weights import HubRepo
from rayreel.errors import RayreelError

SEED = 0  # for random weights: two processes must build the same network


@dataclass(frozen=True, slots=True)
class Encoders:
    """One encoder per modality. `meter`: what passes on CUDA have cost."""

    visual: FrameEncoder
    audio: AudioEncoder
    text: TextEncoder
    meter: PassMeter

    @property
    def dims(self) -> dict[Modality, int]:
        """Width of each modality's vectors."""
        return {Modality.VISUAL: self.visual.dim, Modality.AUDIO: self.audio.dim, Modality.TEXT: self.text.dim}

    @property
    def identities(self) -> dict[Modality, str]:
        """Name, weights and preprocessing of each modality's encoder."""
        each: dict[Modality, FrameEncoder | AudioEncoder | TextEncoder]
        each = {Modality.VISUAL: self.visual, Modality.AUDIO: self.audio, Modality.TEXT: self.text}
        return {modality: encoder.identity for modality, encoder in each.items()}


def load_encoders(
    config: EncodersConfig, cache_dir: Path, most: Mapping[Modality, int] = MappingProxyType({})
) -> Encoders:
    """Locate the weights, download them if needed, and build the three networks. Raises UnreachableWeights.

    `most`: see `compute_of`.
    """
    meter = PassMeter()
    visual, audio, text = (
        load_encoder(modality, config, cache_dir, most=most.get(modality, 0), meter=meter) for modality in Modality
    )
    return Encoders(visual, audio, text, meter)


def load_encoder(
    modality: Modality, config: EncodersConfig, cache_dir: Path, *, most: int = 0, meter: PassMeter | None = None
) -> Any:  # noqa: ANN401 - by modality
    """Build the encoder of one modality, for processes that need only one. `most`, `meter`: see `compute_of`."""
    compute = compute_of(config, cache_dir, most=most, meter=meter)
    name = config.resolve()[modality]
    spec = spec_of(modality, name)
    if spec is None:
        from rayreel.encoders.windows import load_trained  # torchvision's video networks take a second

        return load_trained(name, config.storage, _precision_suffix(modality, config), compute)
    folder, identity = _folder_and_identity(modality, name, config, cache_dir)
    with torch.random.fork_rng(devices=[]):  # a caller's random numbers must not depend on building a network
        torch.default_generator.manual_seed(SEED)  # only the CPU's, where networks are built
        load = pkgutil.resolve_name(f"rayreel.encoders.{spec.loader}")
        return load(folder, identity, compute, *spec.arguments)


def load_word_encoders(config: EncodersConfig, cache_dir: Path, text: TextEncoder | None = None) -> WordEncoders:
    """Load the encoders of queries in words; `text` is the text encoder if it is loaded already."""
    text = text or load_encoder(Modality.TEXT, config, cache_dir)
    return WordEncoders({Modality.TEXT: text, **load_text_sides(config, cache_dir, text)})


def load_text_sides(
    config: EncodersConfig, cache_dir: Path, text: TextEncoder | None = None
) -> dict[Modality, TextEncoder]:
    """Load the text sides of the visual and audio encoders that have one; `text`: the text encoder if it is loaded."""
    names, sides = config.resolve(), dict[Modality, TextEncoder]()
    of_text = _checkpoint(Modality.TEXT, names[Modality.TEXT], cache_dir)
    for modality in (Modality.VISUAL, Modality.AUDIO):
        checkpoint = _checkpoint(modality, names[modality], cache_dir)
        if checkpoint is None:
            continue
        folder = checkpoint_folder(checkpoint, config.weights_dir, cache_dir)
        if not has_text_side(folder, format_of(checkpoint)):
            continue
        if text is not None and checkpoint == of_text:
            sides[modality] = text
        else:
            side = config.model_copy(update={"text": names[modality]})
            sides[modality] = load_encoder(Modality.TEXT, side, cache_dir)
    return sides


def encoder_identities(config: EncodersConfig, cache_dir: Path) -> dict[Modality, str]:
    """Return `load_encoders(...).identities` without building a network."""
    return {modality: encoder_identity(modality, config, cache_dir) for modality in Modality}


def encoder_identity(modality: Modality, config: EncodersConfig, cache_dir: Path) -> str:
    """Return `load_encoder(modality, …).identity` without building the network. Raises UnreachableWeights."""
    return _folder_and_identity(modality, config.resolve()[modality], config, cache_dir)[1]


def licences(config: EncodersConfig, cache_dir: Path) -> dict[str, str]:
    """Return the licences that checkpoints' cards and torchaudio's bundles state, by the encoder's name."""
    stated = {}
    for modality, name in config.resolve().items():
        checkpoint, spec = _checkpoint(modality, name, cache_dir), spec_of(modality, name)
        if checkpoint is not None:
            stated[name] = licence_of(checkpoint_folder(checkpoint, config.weights_dir, cache_dir))
        elif spec is not None and spec.weights is not None and spec.weights.licence:
            stated[name] = spec.weights.licence
    return stated


def _checkpoint(modality: Modality, name: str, cache_dir: Path) -> HubRepo | Path | None:
    """Return where a checkpoint is; None for other encoders."""
    checkpoint = checkpoint_of(modality, name)
    return None if checkpoint is None else repo_or_folder(checkpoint, cache_dir)


def _folder_and_identity(
    modality: Modality, name: str, config: EncodersConfig, cache_dir: Path
) -> tuple[Path | None, str]:
    spec, checkpoint = spec_of(modality, name), _checkpoint(modality, name, cache_dir)
    # Last, see `weights_in`.
    weighted = config.text_weights.suffix if modality is Modality.TEXT and config.text_weights else ""
    if spec is None:
        facts = read_facts(name, config.storage)
        assert facts is not None, f"{name} was resolved"
        return None, facts.identity + _precision_suffix(modality, config)
    processing = spec.preprocessing + _precision_suffix(modality, config) + weighted
    if checkpoint is not None:
        return _checkpoint_and_identity(checkpoint, processing, config, cache_dir)
    if spec.weights is None:
        return None, f"{name}+{spec.preprocessing}{weighted}"
    name = _plain(name)
    if config.random_weights:
        return None, f"{name}@random{SEED}+{processing}"
    folder = locate(spec.weights, config.weights_dir, cache_dir)
    digest = sha256_of(folder / spec.weights.files[0].name, cache_dir / ".sha256")
    return folder, f"{name}@{digest[:12]}+{processing}"


def _checkpoint_and_identity(
    checkpoint: HubRepo | Path, processing: str, config: EncodersConfig, cache_dir: Path
) -> tuple[Path, str]:
    """Name a checkpoint by its files: the vectors do not depend on where they came from."""
    name = checkpoint.name if isinstance(checkpoint, Path) else checkpoint.repo_id.split("/")[1]
    if config.random_weights:
        raise RayreelError(f"encoders.random_weights is not available for the checkpoint {name}.")
    folder = checkpoint_folder(checkpoint, config.weights_dir, cache_dir)
    return folder, f"{_plain(name)}@{digest_of(folder, cache_dir, format_of(checkpoint))[:12]}+{processing}"


def _plain(name: str) -> str:
    """Return a name that can be part of a folder's."""
    return re.sub(r"[^A-Za-z0-9_.-]", "-", name)


def _precision_suffix(modality: Modality, config: EncodersConfig) -> str:
    """Other runtimes and precisions give the same vectors to a cosine of 0.999; bf16 throughout and int8 do not.

    Another version of the quantiser may choose other scales.
    """
    if config.precision == "int8":
        return f"+int8-{quantiser()}" if modality is Modality.VISUAL else ""
    return "+bf16" if config.precision == "bf16" else ""

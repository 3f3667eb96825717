"""Load the three encoders of a configuration."""

import pkgutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from rayreel.encoders.compute import compute_of
from rayreel.encoders.config import ENCODERS, EncodersConfig
from rayreel.encoders.encoder import AudioEncoder, FrameEncoder, Modality, TextEncoder
from rayreel.encoders.locate import locate, sha256_of
from rayreel.encoders.trained import read_facts

SEED = 0  # for random weights: two processes must build the same network


@dataclass(frozen=True, slots=True)
class Encoders:
    """One encoder per modality."""

    visual: FrameEncoder
    audio: AudioEncoder
    text: TextEncoder

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


def load_encoders(config: EncodersConfig, cache_dir: Path) -> Encoders:
    """Locate the weights, download them if needed, and build the three networks. Raises UnreachableWeights."""
    visual, audio, text = (load_encoder(modality, config, cache_dir) for modality in Modality)
    return Encoders(visual, audio, text)


def load_encoder(modality: Modality, config: EncodersConfig, cache_dir: Path) -> Any:  # noqa: ANN401 - by modality
    """Build the encoder of one modality, for processes that need only one."""
    name = config.resolve()[modality]
    if name not in ENCODERS[modality]:
        from rayreel.encoders.windows import load_trained  # torchvision's video networks take a second

        return load_trained(name, config.storage, _precision_suffix(config), compute_of(config))
    folder, identity = _folder_and_identity(modality, name, config, cache_dir)
    with torch.random.fork_rng(devices=[]):  # a caller's random numbers must not depend on building a network
        torch.default_generator.manual_seed(SEED)  # only the CPU's, where networks are built
        load = pkgutil.resolve_name(f"rayreel.encoders.{ENCODERS[modality][name].loader}")
        return load(folder, identity, compute_of(config))


def encoder_identities(config: EncodersConfig, cache_dir: Path) -> dict[Modality, str]:
    """Return `load_encoders(...).identities` without building a network."""
    return {
        modality: _folder_and_identity(modality, name, config, cache_dir)[1]
        for modality, name in config.resolve().items()
    }


def _folder_and_identity(
    modality: Modality, name: str, config: EncodersConfig, cache_dir: Path
) -> tuple[Path | None, str]:
    spec = ENCODERS[modality].get(name)
    if spec is None:
        facts = read_facts(name, config.storage)
        assert facts is not None, f"{name} was resolved"
        return None, facts.identity + _precision_suffix(config)
    if spec.weights is None:
        return None, f"{name}+{spec.preprocessing}"
    processing = spec.preprocessing + _precision_suffix(config)
    if config.random_weights:
        return None, f"{name}@random{SEED}+{processing}"
    folder = locate(spec.weights, config.weights_dir, cache_dir)
    digest = sha256_of(folder / spec.weights.files[0].name, cache_dir / ".sha256")
    return folder, f"{name}@{digest[:12]}+{processing}"


def _precision_suffix(config: EncodersConfig) -> str:
    """Other runtimes and precisions give the same vectors to a cosine of 0.999; bf16 throughout does not."""
    return "+bf16" if config.precision == "bf16" else ""

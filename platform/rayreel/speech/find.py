"""Find the model of speech recognition, and decide whether speech is recognised."""

import hashlib
import json
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from rayreel.encoders.hub import checkpoint_folder, checkpoint_here
from rayreel.encoders.hub_files import digest_of, format_of
from rayreel.encoders.locate import locate, located_here, sha256_of
from rayreel.encoders.weights import NetworkWeights
from rayreel.errors import RayreelError
from rayreel.speech.config import SpeechConfig, source_of

METHOD = "silero6-batched1"  # change it whenever a change of the code changes transcripts
EXTRA = 'pip install "rayreel[speech]"'


class SpeechUnavailable(RayreelError):
    """Speech recognition is switched on, but the package that it needs is not installed."""


@dataclass(frozen=True, slots=True)
class Speech:
    """Speech recognition that can be used: `key` names the model, its weights and what else decides on transcripts."""

    config: SpeechConfig
    key: str


def find_speech(config: SpeechConfig, weights_dir: Path | None, cache_dir: Path) -> Speech | None:
    """Return the speech recognition to use; None if it is off, or if `auto` finds no package or no model here.

    Raises SpeechUnavailable and UnreachableWeights if it is on.
    """
    installed = find_spec("faster_whisper") is not None
    if config.mode == "on" and not installed:
        raise SpeechUnavailable(
            f"speech.mode=on needs faster-whisper, which is not installed. Run `{EXTRA}`, or set speech.mode=off."
        )
    if config.mode == "off" or not installed:
        return None
    on = config.mode == "on"
    folder = model_folder(config, weights_dir, cache_dir) if on else _folder_here(config, weights_dir, cache_dir)
    return None if folder is None else Speech(config, _key(config, folder, cache_dir))


def model_folder(config: SpeechConfig, weights_dir: Path | None, cache_dir: Path) -> Path:
    """Return the folder of the model, downloading it if needed. Raises UnreachableWeights."""
    source = source_of(config.model)
    if isinstance(source, NetworkWeights):
        return locate(source, weights_dir, cache_dir)
    return checkpoint_folder(source, weights_dir, cache_dir)


def _folder_here(config: SpeechConfig, weights_dir: Path | None, cache_dir: Path) -> Path | None:
    source = source_of(config.model)
    if isinstance(source, NetworkWeights):
        return located_here(source, weights_dir, cache_dir)
    return checkpoint_here(source, weights_dir, cache_dir)


def _key(config: SpeechConfig, folder: Path, cache_dir: Path) -> str:
    source = source_of(config.model)
    if isinstance(source, NetworkWeights):
        digest = sha256_of(folder / source.files[0].name, cache_dir / ".sha256")
    else:
        digest = digest_of(folder, cache_dir, format_of(source))
    facts = json.dumps([digest, METHOD, config.facts()], sort_keys=True)
    name = config.model.rsplit("/", 1)[-1].partition("@")[0]
    return f"{name}-{hashlib.sha256(facts.encode()).hexdigest()[:8]}"

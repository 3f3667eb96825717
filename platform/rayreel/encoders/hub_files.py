"""The files of a checkpoint: which determine its vectors, whether all are there, and what they say."""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rayreel.encoders.locate import sha256_of
from rayreel.encoders.registry import OPEN_CLIP_CONFIG, is_checkpoint, is_open_clip, read_json
from rayreel.encoders.weights import HubRepo

CARD = "README.md"
# The folders of a Sentence-Transformers checkpoint are 1_Pooling, 2_Dense and so on.
_FOLDER = re.compile(r"(?P<folder>(\d+_\w+/)?)(?P<file>[^/]+)")
_CTRANSLATE2_SETTINGS = ("config.json", "tokenizer.json")
_SETTINGS = re.compile(r".+\.(json|txt|model)")


@dataclass(frozen=True, slots=True)
class Format:
    """A format of checkpoints: the names of its weights, the preferred ones first. Large ones have numbered parts."""

    weights: tuple[str, ...]

    @property
    def patterns(self) -> list[re.Pattern[str]]:
        """Patterns of the names, with and without a part's number."""
        names = (Path(name) for name in self.weights)
        return [re.compile(rf"{name.stem}(-\d+-of-\d+)?{re.escape(name.suffix)}") for name in names]


TRANSFORMERS = Format(("model.safetensors", "pytorch_model.bin"))
# In open_clip's own order.
OPEN_CLIP = Format(
    ("open_clip_model.safetensors", "open_clip_pytorch_model.safetensors", "open_clip_pytorch_model.bin")
)
CTRANSLATE2 = Format(("model.bin",))
_FORMATS = {"transformers": TRANSFORMERS, "open_clip": OPEN_CLIP, "ctranslate2": CTRANSLATE2}


def format_of(source: HubRepo | Path) -> Format:
    """Return the format of a checkpoint. That of a folder with several is transformers'."""
    if isinstance(source, HubRepo):
        return _FORMATS[source.form]
    if is_open_clip(source):
        return OPEN_CLIP
    return CTRANSLATE2 if (source / "model.bin").is_file() and not is_checkpoint(source) else TRANSFORMERS


def problem_of(folder: Path, form: Format = TRANSFORMERS) -> str | None:
    """Return why a folder has no complete checkpoint of a format, or None."""
    if form is OPEN_CLIP and not (folder / OPEN_CLIP_CONFIG).is_file():
        return f"{folder}/{OPEN_CLIP_CONFIG} not found"
    if form is TRANSFORMERS and not is_checkpoint(folder):
        return f"{folder}/config.json not found, or not that of a transformers checkpoint"
    if form is CTRANSLATE2 and (missing := [n for n in _CTRANSLATE2_SETTINGS if not (folder / n).is_file()]):
        return f"{folder}/{missing[0]} not found"
    names = files_of(_names(folder), form)
    if not any(pattern.fullmatch(Path(name).name) for name in names for pattern in form.patterns):
        return f"{folder} has neither {' nor '.join(form.weights)}"
    for index in folder.glob("*.index.json"):
        shards = set(json.loads(index.read_text())["weight_map"].values())
        if any(shard in names for shard in shards) and (missing := sorted(shards - set(names))):
            return f"{folder}/{missing[0]} not found"
    return None


def files_of(names: Iterable[str], form: Format = TRANSFORMERS) -> list[str]:
    """Return the files that determine a checkpoint's vectors, of all its files by their path below its folder.

    These are configurations, vocabularies and one set of weights per folder: safetensors, or else pickles, which are
    read without running code.
    """
    found = [match for match in map(_FOLDER.fullmatch, names) if match]
    chosen = [match[0] for match in found if _SETTINGS.fullmatch(match["file"])]
    for folder in {match["folder"] for match in found}:
        kinds = ([m[0] for m in found if m["folder"] == folder and kind.fullmatch(m["file"])] for kind in form.patterns)
        chosen += next(filter(None, kinds), [])
    return sorted(chosen)


def _names(folder: Path) -> list[str]:
    return [path.relative_to(folder).as_posix() for path in folder.glob("**/*") if path.is_file()]


def digest_of(folder: Path, cache_dir: Path, form: Format = TRANSFORMERS) -> str:
    """Return the hex sha256 over the names and contents of a checkpoint's files. It does not depend on their source."""
    lines = (f"{name} {sha256_of(folder / name, cache_dir / '.sha256')}\n" for name in files_of(_names(folder), form))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def window_of(folder: Path) -> int:
    """Return the consecutive frames per vector of a video network, 1 for image networks."""
    config = read_json(folder / "config.json")
    return int(config.get("frames_per_clip") or config.get("num_frames") or 1)


def squeezes(folder: Path) -> bool:
    """Whether an open_clip checkpoint is trained on whole pictures, scaled to squares."""
    return bool(read_json(folder / OPEN_CLIP_CONFIG).get("preprocess_cfg", {}).get("resize_mode") == "squash")


def has_text_side(folder: Path, form: Format = TRANSFORMERS) -> bool:
    """Whether a checkpoint of pictures or sound embeds words in the same space."""
    if form is OPEN_CLIP:
        return True
    return "text_config" in read_json(folder / "config.json") and (folder / "tokenizer_config.json").is_file()


def licence_of(folder: Path) -> str:
    """Return the licence that the checkpoint's card states."""
    from huggingface_hub import metadata_load

    facts = (metadata_load(folder / CARD) or {}) if (folder / CARD).is_file() else {}
    licence = facts.get("license")
    return str((facts.get("license_name") if licence == "other" else licence) or licence or "not stated")

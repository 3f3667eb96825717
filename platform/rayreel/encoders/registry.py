"""The available encoders, presets with one per modality, and the checkpoint that a name means; nothing heavy."""

import json
import re
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Any, Literal

from rayreel.encoders.weights import (
    ALL_MINILM_L6_V2,
    BERT_BASE,
    EFFICIENTNET_LITE0,
    EFFICIENTNET_LITE2,
    MOBILENET_V2,
    R2PLUS1D_18,
    RESNET50,
    TORCHAUDIO_BUNDLES,
    VGGISH,
    WAV2VEC2_BASE,
    HubRepo,
    NetworkWeights,
    OpenClipName,
)

Preset = Literal["laptop", "standard", "action", "clip", "modern", "thesis", "words"]

BSD, APACHE, MIT = "BSD-3-Clause", "Apache-2.0", "MIT"
HUB_NAME = re.compile(r"(?P<kind>hf|open_clip):(?P<owner>\w[\w.-]*)/(?P<name>\w[\w.-]*)(@(?P<revision>[\w./-]+))?")

# The text encoder of train.recipe=words.
HASHED_WORDS = "hashed_words"
OPEN_CLIP_CONFIG = "open_clip_config.json"


class Modality(StrEnum):
    """The modalities of a video, in the tower's order."""

    VISUAL = "visual"
    AUDIO = "audio"
    TEXT = "text"


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder: the function that builds it, and what identifies its vectors.

    `loader` is module:function inside this package, imported only when used: transformers alone takes seconds.
    Change `preprocessing` whenever a code change before or after the network changes the vectors: it is part of the
    identity under which features are stored. `window`: for frame encoders, the consecutive frames per vector.
    `arguments`: what the loader needs besides folder, identity and compute. `dim` (0: not known) and `licence` are
    shown by `rayreel encoders list`. `int8`: it can be quantised.
    """

    loader: str
    preprocessing: str
    weights: NetworkWeights | None = None
    window: int = 1
    arguments: tuple[str, ...] = ()
    dim: int = 0
    licence: str = ""
    int8: bool = False


@dataclass(frozen=True, slots=True)
class NamedCheckpoint:
    """A checkpoint with a name, the width of its vectors and its licence."""

    repo: HubRepo
    dim: int
    licence: str


ENCODERS: dict[Modality, dict[str, EncoderSpec]] = {
    Modality.VISUAL: {
        "mobilenet_v2": EncoderSpec(
            "torchvision_frames:load_mobilenet_v2",
            "224-imagenet-pooled",
            MOBILENET_V2,
            dim=1280,
            licence=BSD,
            int8=True,
        ),
        "efficientnet_lite0": EncoderSpec(
            "efficientnet_lite:load_efficientnet_lite0", "224-lite-pooled", EFFICIENTNET_LITE0, dim=1280, licence=APACHE
        ),
        "efficientnet_lite2": EncoderSpec(
            "efficientnet_lite:load_efficientnet_lite2", "260-lite-pooled", EFFICIENTNET_LITE2, dim=1280, licence=APACHE
        ),
        "resnet50": EncoderSpec(
            "torchvision_frames:load_resnet50", "224-imagenet-pooled", RESNET50, dim=2048, licence=BSD, int8=True
        ),
        "r2plus1d_18": EncoderSpec(
            "windows:load_r2plus1d_18", "16x112-kinetics-pooled", R2PLUS1D_18, window=16, dim=512, licence=BSD
        ),
        "colour_layout": EncoderSpec("colour_layout:load_colour_layout", "224-8x8-mean", dim=192),
    },
    Modality.AUDIO: {
        "log_mel": EncoderSpec("logmel:load_log_mel", "mel64-125-7500-fft512-win400-hop160-mean-std-delta", dim=192),
        "wav2vec2_base": EncoderSpec(
            "wav2vec:load_wav2vec2", "unit-variance-mean", WAV2VEC2_BASE, dim=768, licence=APACHE
        ),
        "vggish": EncoderSpec("vggish:load_vggish", "mel64-96-mean", VGGISH, dim=128, licence=APACHE),
    },
    Modality.TEXT: {
        "all_minilm_l6_v2": EncoderSpec(
            "bert_text:load_sentence_bert", "256-unit-mean", ALL_MINILM_L6_V2, dim=384, licence=APACHE
        ),
        "bert_base": EncoderSpec("bert_text:load_bert", "512-cls", BERT_BASE, dim=768, licence=APACHE),
        HASHED_WORDS: EncoderSpec("hashed_words:load_hashed_words", "murmur2048-unaccented-log", dim=2048),
    },
}

BUNDLES = {
    f"torchaudio:{name}": EncoderSpec("torchaudio_sound:load_bundle", "last-layer-mean", weights, arguments=(name,))
    for name, weights in TORCHAUDIO_BUNDLES.items()
}

# Every checkpoint of a modality has the same loader, which reads the rest from the checkpoint.
CHECKPOINTS: dict[Modality, EncoderSpec] = {
    Modality.VISUAL: EncoderSpec("hub_frames:load_frames", "frames1"),
    Modality.AUDIO: EncoderSpec("hub_sound:load_sound", "sound2"),
    Modality.TEXT: EncoderSpec("hub_text:load_text", "text1"),
}
OPEN_CLIP: dict[Modality, EncoderSpec] = {
    Modality.VISUAL: EncoderSpec("hub_open_clip:load_open_clip_frames", "open_clip_frames1"),
    Modality.TEXT: EncoderSpec("hub_open_clip:load_open_clip_text", "open_clip_text1"),
}
CLIP_VIT_B32 = NamedCheckpoint(
    HubRepo("openai/clip-vit-base-patch32", "3d74acf9a28c67741b2f4f2ea7635f0aaf6f0268"), 512, MIT
)
SIGLIP2_BASE = NamedCheckpoint(
    HubRepo("google/siglip2-base-patch16-224", "75de2d55ec2d0b4efc50b3e9ad70dba96a7b2fa2"), 768, APACHE
)
DINOV2_BASE = NamedCheckpoint(HubRepo("facebook/dinov2-base", "f9e44c814b77203eaa57a6bdbbd535f21ede1415"), 768, APACHE)
CLAP_HTSAT = NamedCheckpoint(
    HubRepo("laion/clap-htsat-unfused", "8fa0f1c6d0433df6e97c127f64b2a1d6c0dcda8a"), 512, APACHE
)
QWEN3_EMBEDDING = NamedCheckpoint(
    HubRepo("Qwen/Qwen3-Embedding-0.6B", "c54f2e6e80b2d7b7de06f51cec4959f6b3e03418"), 1024, APACHE
)
NAMED_CHECKPOINTS: dict[Modality, dict[str, NamedCheckpoint]] = {
    Modality.VISUAL: {"clip_vit_b32": CLIP_VIT_B32, "siglip2_base": SIGLIP2_BASE, "dinov2_base": DINOV2_BASE},
    Modality.AUDIO: {"clap_htsat": CLAP_HTSAT},
    Modality.TEXT: {
        "clip_vit_b32": CLIP_VIT_B32,
        "siglip2_base": SIGLIP2_BASE,
        "clap_htsat": CLAP_HTSAT,
        "qwen3_embedding": QWEN3_EMBEDDING,
    },
}

PRESETS: dict[Preset, dict[Modality, str]] = {
    "laptop": {Modality.VISUAL: "mobilenet_v2", Modality.AUDIO: "log_mel", Modality.TEXT: "all_minilm_l6_v2"},
    "standard": {Modality.VISUAL: "resnet50", Modality.AUDIO: "wav2vec2_base", Modality.TEXT: "bert_base"},
    "action": {Modality.VISUAL: "r2plus1d_18", Modality.AUDIO: "log_mel", Modality.TEXT: "all_minilm_l6_v2"},
    "clip": {Modality.VISUAL: "clip_vit_b32", Modality.AUDIO: "log_mel", Modality.TEXT: "clip_vit_b32"},
    "modern": {Modality.VISUAL: "siglip2_base", Modality.AUDIO: "clap_htsat", Modality.TEXT: "qwen3_embedding"},
    "thesis": {Modality.VISUAL: "dinov2_base", Modality.AUDIO: "vggish", Modality.TEXT: "all_minilm_l6_v2"},
    "words": {Modality.VISUAL: "colour_layout", Modality.AUDIO: "log_mel", Modality.TEXT: HASHED_WORDS},
}


def spec_of(modality: Modality, name: str) -> EncoderSpec | None:
    """Return how an encoder is loaded; None for one that the user trained, and for unknown names."""
    checkpoint = checkpoint_of(modality, name)
    if isinstance(checkpoint, OpenClipName) or (isinstance(checkpoint, Path) and is_open_clip(checkpoint)):
        return OPEN_CLIP[modality]
    if checkpoint is not None:
        return CHECKPOINTS[modality]
    bundle = BUNDLES.get(name) if modality is Modality.AUDIO else None
    return bundle or ENCODERS[modality].get(name)


def checkpoint_of(modality: Modality, name: str) -> HubRepo | OpenClipName | Path | None:
    """Return what a name, `hf:…`, `open_clip:…` or a path says of a checkpoint; None for other encoders."""
    if name in NAMED_CHECKPOINTS[modality]:
        return NAMED_CHECKPOINTS[modality][name].repo
    if named := HUB_NAME.fullmatch(name):
        if named["kind"] == "hf":
            return HubRepo(f"{named['owner']}/{named['name']}", named["revision"])
        return OpenClipName(named["owner"], named["name"], named["revision"]) if modality in OPEN_CLIP else None
    folder = Path(name)
    known = is_checkpoint(folder) or (modality in OPEN_CLIP and is_open_clip(folder))
    return folder if "/" in name and known else None


def is_checkpoint(folder: Path) -> bool:
    """Whether a folder has the configuration of a transformers or Sentence-Transformers checkpoint."""
    return (folder / "modules.json").is_file() or "model_type" in read_json(folder / "config.json")


def is_open_clip(folder: Path) -> bool:
    """Whether a folder has only the configuration of an open_clip checkpoint."""
    return (folder / OPEN_CLIP_CONFIG).is_file() and not is_checkpoint(folder)


def read_json(path: Path) -> Any:  # noqa: ANN401
    """Return the content of a JSON file, an empty dict if there is no such file."""
    return json.loads(path.read_text()) if path.is_file() else {}

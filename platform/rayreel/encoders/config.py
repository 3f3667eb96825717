"""The available encoders, presets with one per modality, and their configuration. Imports nothing heavy."""

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rayreel.encoders.trained import UnknownEncoder, read_facts, trained_names
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
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig

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


TextWeight = Annotated[float, Field(ge=0, le=100), AfterValidator(lambda weight: round(weight, 3))]
_WEIGHTED = "+texts"


class TextWeights(BaseModel):
    """How much each source of text counts in the vector of a video's texts; 0 leaves it out."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    title: TextWeight = Field(1, description="the title")
    description: TextWeight = Field(1, description="the description")
    tags: TextWeight = Field(1, description="the tags")
    transcript: TextWeight = Field(1, description="what is said")
    summary: TextWeight = Field(0, description="summary, topics and title by a language model")

    @model_validator(mode="after")
    def _something_counts(self) -> Self:
        if not any(weight for _, weight in self):
            raise ValueError("all text_weights are 0: give one of them a positive weight")
        return self

    @property
    def suffix(self) -> str:
        """What is added to the identity of a text encoder."""
        return "-".join([_WEIGHTED, *(f"{weight:g}" for _, weight in self)])


def weights_in(identity: str) -> TextWeights | None:
    """Return the weights that a text encoder's identity names; None without any.

    >>> weights_in("all_minilm_l6_v2@53aa51172d14+256-unit-mean+texts-1-0.5-1-0.25-0").transcript
    0.25
    """
    _, found, weights = identity.partition(f"{_WEIGHTED}-")
    names = TextWeights.model_fields
    return TextWeights(**dict(zip(names, map(float, weights.split("-")), strict=True))) if found else None


class EncodersConfig(BaseModel):
    """Which frozen encoders to use, how to run them and where to find their weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(
        default="laptop",
        description="laptop: small, fast on a CPU. standard: larger networks. action: R(2+1)D on windows of 16 frames. "
        "clip: CLIP for frames and captions. modern: SigLIP 2, CLAP and Qwen3-Embedding. thesis: DINOv2, VGGish and "
        "Sentence-BERT. words: counts of words, without any network, for train.recipe=words.",
    )
    visual: str | None = Field(
        default=None,
        description="Frame encoder to use instead of the preset's: a name, hf:OWNER/NAME@REVISION, "
        "open_clip:MODEL/PRETRAINED, the folder of a checkpoint, or the name or folder of one you trained.",
    )
    audio: str | None = Field(
        default=None,
        description="Audio encoder to use instead of the preset's: a name, hf:OWNER/NAME@REVISION, a folder, or "
        "torchaudio:BUNDLE.",
    )
    text: str | None = Field(
        default=None,
        description="Text encoder to use instead of the preset's: a name, hf:OWNER/NAME@REVISION, "
        "open_clip:MODEL/PRETRAINED or a folder.",
    )
    text_weights: TextWeights | None = Field(
        default=None,
        description="Weights of title, description, tags, transcript and summary, such as {title: 1, transcript: 0.5}: "
        "each is encoded by itself, and a video's text is their weighted mean. Not named: 1, summary 0. Unset: what is "
        "written is encoded as one text, and what is said gives a second vector.",
    )
    weights_dir: Path | None = Field(
        default=None, description="Folder with your copies of the weights, searched first."
    )
    cache_dir: Path | None = Field(
        default=None, description="Folder for downloaded weights. Default: `weights` below the storage root."
    )
    storage: str | None = Field(
        default=None, description="Storage root with encoders you trained. Default: the storage root."
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N."
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        default="auto", description="auto: OpenVINO on a CPU if installed, otherwise torch. The vectors are the same."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16", "int8"] = Field(
        default="auto",
        description="auto: fp16 on CUDA, otherwise fp32, with bf16 in parts if the CPU has it and features stay the "
        "same. bf16 throughout is faster, but gives different features. int8: a CPU's ResNet-50 or MobileNetV2 in "
        "int8, with different features; sound and text as with auto.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of this process; 0: OMP_NUM_THREADS, or its cores.")
    batch: int | None = Field(
        default=None,
        ge=1,
        description="Inputs per forward pass on a GPU, smaller batches are padded; a CPU takes one. Unset: 32 and, for "
        "extraction on CUDA, the fastest of 32 to 256, measured once and kept with the weights.",
    )
    compile: bool = Field(
        default=False, description="Use torch.compile for networks run by torch: slower start, faster passes."
    )
    random_weights: bool = Field(
        default=False, description="Tests only: seeded random networks. Promotion rejects their features."
    )

    @field_validator("storage", "visual", "audio", "text")
    @classmethod
    def _folders_are_absolute(cls, place: str | None, info: ValidationInfo) -> str | None:
        """Workers on other nodes have another working directory."""
        if not place or "://" in place or place.startswith(("hf:", "open_clip:", "torchaudio:")):
            return place
        is_folder = "/" in place or info.field_name == "storage"
        return str(Path(place).expanduser().resolve()) if is_folder else place

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        self.resolve()
        return self

    @model_validator(mode="after")
    def _int8_is_possible(self) -> Self:
        name, can = self.resolve()[Modality.VISUAL], [n for n, s in ENCODERS[Modality.VISUAL].items() if s.int8]
        if self.precision == "int8" and name not in can:
            raise ValueError(
                f"precision int8 is available for the frame encoders {', '.join(can)}, not for {name}. "
                "Set encoders.precision=auto."
            )
        return self

    def resolve(self) -> dict[Modality, str]:
        """Return the encoder's name for each modality, in the tower's order. Raises UnknownEncoder."""
        chosen = {Modality.VISUAL: self.visual, Modality.AUDIO: self.audio, Modality.TEXT: self.text}
        names = {modality: name or PRESETS[self.preset][modality] for modality, name in chosen.items()}
        for modality, name in names.items():
            own = modality is Modality.VISUAL
            if spec_of(modality, name) or (own and read_facts(name, self.storage)):
                continue
            known = [*ENCODERS[modality], *(trained_names(self.storage) if own else []), *NAMED_CHECKPOINTS[modality]]
            known += BUNDLES if modality is Modality.AUDIO else []
            sources = "hf:OWNER/NAME@REVISION" + (", open_clip:MODEL/PRETRAINED" if modality in OPEN_CLIP else "")
            raise UnknownEncoder(
                f"No {modality} encoder {name!r}. Choose one of: {', '.join(known)}. Or pass {sources}, or the folder "
                "of a checkpoint with its config.json."
            )
        return names

    def sampled(self, sampling: SamplingConfig, cache: Callable[[], Path]) -> SamplingConfig:
        """Return the sampling with the window size, in consecutive frames, and the shape that the visual encoder needs.

        A window of 1 means the encoder's own; any other that does not fit raises RayreelError. A checkpoint that has no
        name here is downloaded to `cache()` to learn both.
        """
        name = self.resolve()[Modality.VISUAL]
        if spec_of(Modality.VISUAL, name) == OPEN_CLIP[Modality.VISUAL]:
            from rayreel.encoders.hub_files import squeezes

            squeeze = sampling.squeeze or squeezes(self._folder(name, cache()))
            sampling = sampling.model_copy(update={"squeeze": squeeze})
        window = self._window(name, cache)
        if sampling.window in {1, window}:
            return sampling.model_copy(update={"window": window})
        if window == 1:
            return sampling
        raise RayreelError(
            f"sampling.window = {sampling.window}: {name} reads {window} consecutive frames. Remove sampling.window."
        )

    def _window(self, name: str, cache: Callable[[], Path]) -> int:
        if name in ENCODERS[Modality.VISUAL]:
            return ENCODERS[Modality.VISUAL][name].window
        checkpoint = checkpoint_of(Modality.VISUAL, name)
        if checkpoint is None:
            facts = read_facts(name, self.storage)
            return facts.network.window if facts else 1
        if name in NAMED_CHECKPOINTS[Modality.VISUAL] or isinstance(checkpoint, OpenClipName):
            return 1
        from rayreel.encoders.hub_files import window_of

        return window_of(self._folder(name, cache()))

    def _folder(self, name: str, cache: Path) -> Path:
        from rayreel.encoders.hub import checkpoint_folder, repo_or_folder  # imports httpx

        checkpoint = checkpoint_of(Modality.VISUAL, name)
        assert checkpoint is not None, f"{name} is a checkpoint"
        return checkpoint_folder(repo_or_folder(checkpoint, cache), self.weights_dir, cache)


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

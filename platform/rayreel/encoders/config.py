"""The available encoders, presets with one per modality, and their configuration. Imports nothing heavy."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rayreel.encoders.trained import UnknownEncoder, read_facts, trained_names
from rayreel.encoders.weights import (
    ALL_MINILM_L6_V2,
    BERT_BASE,
    MOBILENET_V2,
    R2PLUS1D_18,
    RESNET50,
    WAV2VEC2_BASE,
    NetworkWeights,
)
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig

Preset = Literal["laptop", "standard", "action"]


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
    """

    loader: str
    preprocessing: str
    weights: NetworkWeights | None = None
    window: int = 1


ENCODERS: dict[Modality, dict[str, EncoderSpec]] = {
    Modality.VISUAL: {
        "mobilenet_v2": EncoderSpec("torchvision_frames:load_mobilenet_v2", "224-imagenet-pooled", MOBILENET_V2),
        "resnet50": EncoderSpec("torchvision_frames:load_resnet50", "224-imagenet-pooled", RESNET50),
        "r2plus1d_18": EncoderSpec("windows:load_r2plus1d_18", "16x112-kinetics-pooled", R2PLUS1D_18, window=16),
    },
    Modality.AUDIO: {
        "log_mel": EncoderSpec("logmel:load_log_mel", "mel64-125-7500-fft512-win400-hop160-mean-std-delta"),
        "wav2vec2_base": EncoderSpec("wav2vec:load_wav2vec2", "unit-variance-mean", WAV2VEC2_BASE),
    },
    Modality.TEXT: {
        "all_minilm_l6_v2": EncoderSpec("bert_text:load_sentence_bert", "256-unit-mean", ALL_MINILM_L6_V2),
        "bert_base": EncoderSpec("bert_text:load_bert", "512-cls", BERT_BASE),
    },
}

PRESETS: dict[Preset, dict[Modality, str]] = {
    "laptop": {Modality.VISUAL: "mobilenet_v2", Modality.AUDIO: "log_mel", Modality.TEXT: "all_minilm_l6_v2"},
    "standard": {Modality.VISUAL: "resnet50", Modality.AUDIO: "wav2vec2_base", Modality.TEXT: "bert_base"},
    "action": {Modality.VISUAL: "r2plus1d_18", Modality.AUDIO: "log_mel", Modality.TEXT: "all_minilm_l6_v2"},
}


class EncodersConfig(BaseModel):
    """Which frozen encoders to use, how to run them and where to find their weights."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(
        default="laptop",
        description="laptop: small, fast on a CPU. standard: larger networks. action: R(2+1)D on windows of 16 frames.",
    )
    visual: str | None = Field(
        default=None,
        description="Frame encoder to use instead of the preset's: its name, or the name or folder of one you trained.",
    )
    audio: str | None = Field(default=None, description="Audio encoder to use instead of the preset's.")
    text: str | None = Field(default=None, description="Text encoder to use instead of the preset's.")
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
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto: fp16 on CUDA, otherwise fp32, with bf16 in parts if the CPU has it and features stay the "
        "same. bf16 throughout is faster, but gives different features.",
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of this process; 0: OMP_NUM_THREADS, or its cores.")
    batch: int = Field(
        default=32, ge=1, description="Inputs per forward pass on a GPU, smaller batches are padded; a CPU takes one."
    )
    compile: bool = Field(
        default=False, description="Use torch.compile for networks run by torch: slower start, faster passes."
    )
    random_weights: bool = Field(
        default=False, description="Tests only: seeded random networks. Promotion rejects their features."
    )

    @field_validator("storage", "visual")
    @classmethod
    def _folders_are_absolute(cls, place: str | None, info: ValidationInfo) -> str | None:
        """Workers on other nodes have another working directory."""
        is_folder = place and "://" not in place and ("/" in place or info.field_name == "storage")
        return str(Path(place).expanduser().resolve()) if place and is_folder else place

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        self.resolve()
        return self

    def resolve(self) -> dict[Modality, str]:
        """Return the encoder's name for each modality, in the tower's order. Raises UnknownEncoder."""
        chosen = {Modality.VISUAL: self.visual, Modality.AUDIO: self.audio, Modality.TEXT: self.text}
        names = {modality: name or PRESETS[self.preset][modality] for modality, name in chosen.items()}
        for modality, name in names.items():
            own = modality is Modality.VISUAL
            if name in ENCODERS[modality] or (own and read_facts(name, self.storage)):
                continue
            known = [*ENCODERS[modality], *(trained_names(self.storage) if own else [])]
            raise UnknownEncoder(f"No {modality} encoder {name!r}. Choose one of: {', '.join(known)}.")
        return names

    def sampled(self, sampling: SamplingConfig) -> SamplingConfig:
        """Return the sampling with the window size, in consecutive frames, that the visual encoder needs.

        A window of 1 means the encoder's own; any other that does not fit raises RayreelError.
        """
        name = self.resolve()[Modality.VISUAL]
        window = self._window(name)
        if sampling.window in {1, window}:
            return sampling.model_copy(update={"window": window})
        if window == 1:
            return sampling
        raise RayreelError(
            f"sampling.window = {sampling.window}: {name} reads {window} consecutive frames. Remove sampling.window."
        )

    def _window(self, name: str) -> int:
        if name in ENCODERS[Modality.VISUAL]:
            return ENCODERS[Modality.VISUAL][name].window
        facts = read_facts(name, self.storage)
        return facts.network.window if facts else 1

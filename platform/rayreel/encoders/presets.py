"""Which encoder reads which modality: presets, and how to mix them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rayreel.encoders.encoder import Modality
from rayreel.encoders.weights import ALL_MINILM_L6_V2, BERT_BASE, MOBILENET_V2, RESNET50, WAV2VEC2_BASE, Weights
from rayreel.errors import RayreelError

Preset = Literal["laptop", "standard"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder: the function that builds it, and what tells its vectors from another's.

    `loader` is module:function inside this package, imported only when used: transformers alone takes seconds.
    Change `preprocessing` whenever a change of code before or after the network changes the vectors: it is part of the
    identity under which features are stored.
    """

    loader: str
    preprocessing: str
    weights: Weights | None = None


ENCODERS: dict[Modality, dict[str, EncoderSpec]] = {
    Modality.VISUAL: {
        "mobilenet_v2": EncoderSpec("torchvision_frames:load_mobilenet_v2", "224-imagenet-pooled", MOBILENET_V2),
        "resnet50": EncoderSpec("torchvision_frames:load_resnet50", "224-imagenet-pooled", RESNET50),
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
}


class UnknownEncoder(RayreelError):
    """A modality is given an encoder that does not exist for it."""


class EncodersConfig(BaseModel):
    """Which frozen encoders to use, where they compute and where their weights come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(default="laptop", description="laptop: small, fast on a CPU. standard: the larger seed.")
    visual: str | None = Field(default=None, description="Frame encoder instead of the preset's.")
    audio: str | None = Field(default=None, description="Audio encoder instead of the preset's.")
    text: str | None = Field(default=None, description="Text encoder instead of the preset's.")
    weights_dir: Path | None = Field(default=None, description="Folder with weights you supply; looked into first.")
    cache_dir: Path | None = Field(
        default=None, description="Where downloaded weights are kept. Default: weights below the storage root."
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N."
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        default="auto", description="auto: OpenVINO on a CPU where it is installed, torch elsewhere. Same vectors."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto", description="auto: fp16 on CUDA, fp32 elsewhere. bf16 is faster, but gives other features."
    )
    threads: int = Field(default=0, ge=0, description="CPU threads of this process; 0: OMP_NUM_THREADS, or its cores.")
    batch: int = Field(
        default=32, ge=1, description="Inputs per forward pass on a GPU, a smaller one filled up; a CPU takes one."
    )
    compile: bool = Field(
        default=False, description="torch.compile the networks torch runs: a slow start, then faster passes."
    )
    random_weights: bool = Field(
        default=False, description="Tests only: seeded random networks. Their features are refused for release."
    )

    @model_validator(mode="after")
    def _names_are_known(self) -> Self:
        self.resolve()
        return self

    def resolve(self) -> dict[Modality, str]:
        """Return the encoder's name for each modality, in the tower's order. Raises UnknownEncoder."""
        chosen = {Modality.VISUAL: self.visual, Modality.AUDIO: self.audio, Modality.TEXT: self.text}
        names = {modality: name or PRESETS[self.preset][modality] for modality, name in chosen.items()}
        for modality, name in names.items():
            if name not in ENCODERS[modality]:
                known = ", ".join(ENCODERS[modality])
                raise UnknownEncoder(f"{name!r}: no such {modality} encoder. Choose one of: {known}.")
        return names

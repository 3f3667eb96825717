"""Which encoder reads which modality: presets, and how to mix them."""

from dataclasses import dataclass
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rayreel.encoders.modality import Modality
from rayreel.encoders.trained import UnknownEncoder, read_facts, trained_names
from rayreel.encoders.weights import (
    ALL_MINILM_L6_V2,
    BERT_BASE,
    MOBILENET_V2,
    R2PLUS1D_18,
    RESNET50,
    WAV2VEC2_BASE,
    Weights,
)
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig

Preset = Literal["laptop", "standard", "action"]


@dataclass(frozen=True, slots=True)
class EncoderSpec:
    """One encoder: the function that builds it, and what tells its vectors from another's.

    `loader` is module:function inside this package, imported only when used: transformers alone takes seconds.
    Change `preprocessing` whenever a change of code before or after the network changes the vectors: it is part of the
    identity under which features are stored. `window`: consecutive frames that give one vector, of frame encoders.
    """

    loader: str
    preprocessing: str
    weights: Weights | None = None
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
    """Which frozen encoders to use, where they compute and where their weights come from."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    preset: Preset = Field(
        default="laptop",
        description="laptop: small, fast on a CPU. standard: the larger seed. action: R(2+1)D on windows of 16 frames.",
    )
    visual: str | None = Field(
        default=None,
        description="Frame encoder instead of the preset's: its name, or the name or folder of one you trained.",
    )
    audio: str | None = Field(default=None, description="Audio encoder instead of the preset's.")
    text: str | None = Field(default=None, description="Text encoder instead of the preset's.")
    weights_dir: Path | None = Field(default=None, description="Folder with weights you supply; looked into first.")
    cache_dir: Path | None = Field(
        default=None, description="Where downloaded weights are kept. Default: weights below the storage root."
    )
    storage: str | None = Field(
        default=None, description="Storage root with encoders of your own training. Default: the storage root."
    )
    device: str = Field(
        default="auto", pattern=r"^(auto|cpu|mps|cuda(:\d+)?)$", description="auto, cpu, mps, cuda or cuda:N."
    )
    runtime: Literal["auto", "torch", "openvino"] = Field(
        default="auto", description="auto: OpenVINO on a CPU where it is installed, torch elsewhere. Same vectors."
    )
    precision: Literal["auto", "fp32", "bf16", "fp16"] = Field(
        default="auto",
        description="auto: fp16 on CUDA, fp32 elsewhere, with bf16 where a CPU has it and no feature changes by it. "
        "bf16 throughout is faster, but gives other features.",
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

    @field_validator("storage", "visual")
    @classmethod
    def _folders_are_absolute(cls, place: str | None, info: ValidationInfo) -> str | None:
        """Workers elsewhere in the cluster have another working directory."""
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
            raise UnknownEncoder(f"{name!r}: no such {modality} encoder. Choose one of: {', '.join(known)}.")
        return names

    def sampled(self, sampling: SamplingConfig) -> SamplingConfig:
        """The sampling with as many consecutive frames in a window as the visual encoder reads.

        A window of 1 stands for whatever the encoder needs; another one that does not fit raises RayreelError.
        """
        name = self.resolve()[Modality.VISUAL]
        window = self._window(name)
        if sampling.window in {1, window}:
            return sampling.model_copy(update={"window": window})
        if window == 1:
            return sampling
        raise RayreelError(
            f"sampling.window = {sampling.window}: {name} reads {window} consecutive frames. Leave sampling.window out."
        )

    def _window(self, name: str) -> int:
        if name in ENCODERS[Modality.VISUAL]:
            return ENCODERS[Modality.VISUAL][name].window
        facts = read_facts(name, self.storage)
        return facts.network.window if facts else 1

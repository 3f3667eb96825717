"""Which encoders to use, and how to run them. Imports nothing heavy."""

from collections.abc import Callable
from pathlib import Path
from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from rayreel.encoders.registry import (
    BUNDLES,
    ENCODERS,
    NAMED_CHECKPOINTS,
    OPEN_CLIP,
    PRESETS,
    Modality,
    Preset,
    checkpoint_of,
    spec_of,
)
from rayreel.encoders.text_weights import TextWeights
from rayreel.encoders.trained import UnknownEncoder, read_facts, trained_names
from rayreel.encoders.weights import OpenClipName
from rayreel.errors import RayreelError
from rayreel.media.config import SamplingConfig


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

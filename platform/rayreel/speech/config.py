"""Whether and how speech is recognised. Imports nothing heavy."""

from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from rayreel.encoders.registry import HUB_NAME
from rayreel.encoders.weights import WHISPER_TINY_EN, HubRepo, NetworkWeights

# Checkpoints in CTranslate2's format by the names that faster-whisper gives them (its utils.py).
HUB_MODELS = {
    **{
        size: HubRepo(f"Systran/faster-whisper-{size}", None, "ctranslate2")
        for size in ("tiny", "base.en", "base", "small.en", "small", "medium.en", "medium", "large-v2", "large-v3")
    },
    "large-v3-turbo": HubRepo("mobiuslabsgmbh/faster-whisper-large-v3-turbo", None, "ctranslate2"),
    "distil-small.en": HubRepo("Systran/faster-distil-whisper-small.en", None, "ctranslate2"),
    "distil-large-v3": HubRepo("Systran/faster-distil-whisper-large-v3", None, "ctranslate2"),
}
# In the format of transformers. The names of repositories in this format contain "parakeet".
PARAKEETS = {
    name: HubRepo(f"nvidia/{name}", None) for name in ("parakeet-ctc-0.6b", "parakeet-ctc-1.1b", "parakeet-tdt-0.6b-v3")
}
KNOWN_MODELS = {WHISPER_TINY_EN.name: WHISPER_TINY_EN}
MODELS = (*KNOWN_MODELS, *HUB_MODELS, *PARAKEETS)


class SpeechConfig(BaseModel):
    """Speech recognition during extraction. Changed settings transcribe again, and only those videos with sound."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    mode: Literal["off", "auto", "on"] = Field(
        "auto",
        description="on: recognise speech, and download the model if it is not here. auto: only if the model is here "
        "already and faster-whisper is installed. off: recognise none; transcripts that exist stay.",
    )
    model: str = Field(
        "tiny.en",
        description=f"Whisper or Parakeet: {', '.join(MODELS)}, hf:OWNER/NAME@REVISION or a folder, in CTranslate2's "
        "format or, for Parakeet, that of transformers. Names that end in .en and those with ctc know English only.",
    )
    language: str | None = Field(
        None,
        pattern="^[a-z]{2,3}$",
        description="language of all videos, such as de; unset: detected for each video, unless the model has only one",
    )
    first_s: float = Field(300, gt=0, le=3600, description="transcribe the first seconds of each video")
    beam: int = Field(5, ge=1, le=20, description="beams of decoding; 1 is faster and makes more mistakes")
    device: str = Field("auto", pattern=r"^(auto|cpu|cuda)$", description="auto, cpu or cuda")
    precision: Literal["auto", "int8", "fp16", "fp32"] = Field(
        "auto", description="auto: fp16 on CUDA, int8 on a CPU. Transcripts differ in a few words."
    )
    batch: int = Field(8, ge=1, description="stretches of up to 30 s in one pass, of all videos of a block")

    @field_validator("mode", mode="before")
    @classmethod
    def _yaml_reads_on_and_off_as_booleans(cls, mode: object) -> object:
        return {True: "on", False: "off"}.get(mode, mode) if isinstance(mode, bool) else mode

    @field_validator("model")
    @classmethod
    def _folders_are_absolute(cls, model: str) -> str:
        """Workers on other nodes have another working directory."""
        is_folder = "/" in model and not model.startswith("hf:")
        return str(Path(model).expanduser().resolve()) if is_folder else model

    @model_validator(mode="after")
    def _model_is_known(self) -> Self:
        source_of(self.model)
        return self

    def facts(self) -> dict[str, Any]:
        """Return what decides about transcripts, besides the model."""
        return {"language": self.language, "first_s": self.first_s, "beam": self.beam}


def source_of(model: str) -> NetworkWeights | HubRepo | Path:
    """Return where a model comes from. Raises ValueError for an unknown name."""
    if model in KNOWN_MODELS:
        return KNOWN_MODELS[model]
    if model in HUB_MODELS | PARAKEETS:
        return (HUB_MODELS | PARAKEETS)[model]
    named = HUB_NAME.fullmatch(model)
    if named and named["kind"] == "hf":
        form: Literal["transformers", "ctranslate2"]
        form = "transformers" if "parakeet" in named["name"].lower() else "ctranslate2"
        return HubRepo(f"{named['owner']}/{named['name']}", named["revision"], form)
    if "/" in model:
        return Path(model)
    raise ValueError(
        f"no speech model {model!r}. Choose one of {', '.join(MODELS)}, hf:OWNER/NAME@REVISION or a folder"
    )

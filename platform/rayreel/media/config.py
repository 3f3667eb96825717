"""How videos are sampled, and which are refused."""

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationInfo, field_validator

from rayreel.remote.config import ReadLimits

AUDIO_RATE_HZ = 16_000
MAX_MEMORY_BYTES = 2 << 30


class SamplingConfig(BaseModel):
    """What is sampled from each video. Part of the encoder key: other sampling gives other features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(
        8, ge=1, le=256, description="frames per video, at uniform times; with frame_interval_s, at most this many"
    )
    frame_interval_s: float | None = Field(
        None,
        gt=0,
        description="take a frame every N seconds from the start, up to `frames`; unset: spread over the video",
    )
    mode: Literal["exact", "keyframe", "auto"] = Field(
        "auto",
        description="exact: the frames on screen at these times. keyframe: the nearest keyframes, fewer if they are "
        "sparse. auto: a keyframe if one is near enough, else the frame decoded from the previous keyframe.",
    )
    window: int = Field(1, ge=1, le=64, description="consecutive frames from each time; above 1, the mode is exact")
    squeeze: bool = Field(
        False,
        description="scale whole frames to squares, instead of taking their centre. Checkpoints of open_clip that are "
        "trained so set it.",
    )
    audio_windows: int = Field(4, ge=1, le=64, description="audio windows per video, at uniform times")
    audio_window_s: float = Field(2.0, gt=0.1, le=30, description="length of one audio window, seconds")
    audio_first_s: float | None = Field(
        None,
        gt=0,
        description="take audio windows only from the first seconds of the track, such as 5; unset: from all of it",
    )

    track_s: float = Field(
        0,
        ge=0,
        le=3600,
        description="also decode the first seconds of the sound as a whole; extraction sets it to speech.first_s where "
        "speech is recognised",
    )

    @property
    def is_exact(self) -> bool:
        """Whether pictures are decoded bit-exactly; otherwise deblocking is skipped."""
        return self.mode != "auto" or self.window > 1

    def facts(self) -> dict[str, Any]:
        """Return what identifies features. What is unset is left out, so that older features keep their name.

        `track_s` changes no feature.
        """
        return self.model_dump(exclude_none=True, exclude={"track_s"} | (set() if self.squeeze else {"squeeze"}))

    @field_validator("audio_first_s")
    @classmethod
    def _a_window_fits(cls, first_s: float | None, info: ValidationInfo) -> float | None:
        window_s = info.data.get("audio_window_s")
        if first_s is not None and window_s is not None and first_s < window_s:
            raise ValueError(
                f"an audio window is {window_s:g} s long; set sampling.audio_window_s to {first_s:g} or less"
            )
        return first_s


class Limits(ReadLimits):
    """Limits of decoding. A video over one of them goes to quarantine."""

    max_duration_s: float = Field(3600, gt=0, description="longest video, seconds")
    max_bytes: int = Field(4 << 30, gt=0, description="largest file, bytes")
    max_pixels: int = Field(8192 * 4320, gt=0, description="largest declared frame, width x height")
    max_streams: int = Field(32, gt=0, description="most video, audio and subtitle streams in one file")
    timeout_s: float = Field(120, gt=0, description="wall time for decoding one video, seconds")
    max_memory_bytes: int = Field(MAX_MEMORY_BYTES, gt=0, description="memory for decoding one video, bytes")
    require_sandbox: bool = Field(
        False,
        description="refuse to decode if the kernel lacks Landlock or seccomp; else a warning names what is missing",
    )

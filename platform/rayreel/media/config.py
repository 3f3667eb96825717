"""How videos are sampled, and what is refused."""

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from rayreel.remote.config import ReadLimits

AUDIO_RATE_HZ = 16_000


class SamplingConfig(BaseModel):
    """What is taken from each video. Part of the encoder key: other sampling gives other features."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    frames: int = Field(8, ge=1, le=256, description="frames per video, at uniform times")
    mode: Literal["exact", "keyframe", "auto"] = Field(
        "auto",
        description="exact: the frames on screen at these times. keyframe: the nearest keyframes, fewer where they are "
        "sparse. auto: a keyframe where one is near enough, else decode on to the frame.",
    )
    window: int = Field(1, ge=1, le=64, description="consecutive frames from each time on; above 1 always exact")
    audio_windows: int = Field(4, ge=1, le=64, description="windows of sound per video, at uniform times")
    audio_window_s: float = Field(2.0, gt=0.1, le=30, description="length of one window of sound, seconds")


class Limits(ReadLimits):
    """The border of decoding: what is larger or slower than this goes to quarantine."""

    max_duration_s: float = Field(3600, gt=0, description="longest video, seconds")
    max_bytes: int = Field(4 << 30, gt=0, description="largest file, bytes")
    max_pixels: int = Field(8192 * 4320, gt=0, description="largest declared frame, width x height")
    max_streams: int = Field(32, gt=0, description="most streams of pictures, sound and text in one file")
    timeout_s: float = Field(120, gt=0, description="wall time for decoding one video, seconds")
    max_memory_bytes: int = Field(2 << 30, gt=0, description="memory that decoding one video may take, bytes")
    require_sandbox: bool = Field(
        False,
        description="refuse to decode where the kernel cannot shut the decoder in (Landlock and seccomp); otherwise a "
        "warning says what is missing",
    )

"""What travels between the stages of extraction: one row per video, failures as values."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip

TODO = pa.schema([("video", pa.string()), ("version", pa.string())])

# Frames and sound as plain bytes: Arrow hands them to the encoder without a copy and without a tensor extension type.
DECODED = pa.schema(
    [
        *TODO,
        ("frames", pa.large_binary()),
        ("windows", pa.large_binary()),
        ("n_frames", pa.int32()),
        ("n_windows", pa.int32()),
        ("content_hash", pa.string()),
        ("duration_s", pa.float32()),
        ("width", pa.int32()),
        ("height", pa.int32()),
        ("fps", pa.float32()),
        ("has_audio", pa.bool_()),
        ("reason", pa.string()),
        ("detail", pa.string()),
        ("decode_s", pa.float64()),
        ("decoded_at", pa.float64()),
    ]
)


def decoded_row(video: str, version: str, clip: Clip | Rejected) -> dict[str, Any]:
    """A clip, or why there is none, as a row of DECODED."""
    if isinstance(clip, Rejected):
        return {"video": video, "version": version, "reason": clip.reason.value, "detail": clip.detail}
    windows = clip.windows
    return {
        "video": video,
        "version": version,
        "frames": clip.frames.tobytes(),
        "windows": None if windows is None else windows.tobytes(),
        "n_frames": len(clip.frames),
        "n_windows": 0 if windows is None else len(windows),
        "content_hash": clip.content_hash,
        "duration_s": clip.facts.duration_s,
        "width": clip.facts.width,
        "height": clip.facts.height,
        "fps": clip.facts.fps,
        "has_audio": clip.facts.has_audio,
    }


def frames_of(table: pa.Table, size: int) -> NDArray[np.uint8]:
    """All frames of a block, one video after the other: [sum of n_frames, size, size, 3]."""
    return _stack(table["frames"], np.uint8).reshape(-1, size, size, 3)


def windows_of(table: pa.Table, samples: int) -> NDArray[np.float32]:
    """All windows of sound of a block, one video after the other: [sum of n_windows, samples]."""
    return _stack(table["windows"], np.float32).reshape(-1, samples)


def quarantine_row(  # noqa: PLR0917 - the columns, in their order
    video_id: str, uri: str, version: str, stage: str, reason: Reason, detail: str
) -> dict[str, Any]:
    """A video that could not be used, as a row of the quarantine."""
    return {
        "video_id": video_id,
        "uri": uri,
        "version": version,
        "stage": stage,
        "reason": reason.value,
        "detail": detail,
        "at": datetime.now(UTC),
    }


def _stack(column: pa.ChunkedArray, dtype: type) -> NDArray[Any]:
    parts: list[NDArray[Any]] = [np.frombuffer(cell.as_buffer(), dtype=dtype) for cell in column if cell.is_valid]
    return np.concatenate(parts) if parts else np.empty(0, dtype=dtype)

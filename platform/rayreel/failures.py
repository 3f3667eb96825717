"""What can be wrong with a video. A failure is a value: it goes to quarantine and stops nothing."""

from dataclasses import dataclass
from enum import StrEnum


class Reason(StrEnum):
    """Why a video is in quarantine. Closed set: dashboards and retries key on it."""

    MISSING_FILE = "missing_file"
    UNREACHABLE = "unreachable"
    UNREADABLE = "unreadable"
    CONTAINER_NOT_ALLOWED = "container_not_allowed"
    NO_VIDEO_STREAM = "no_video_stream"
    UNSUPPORTED_CODEC = "unsupported_codec"
    NO_FRAMES = "no_frames"
    TOO_LONG = "too_long"
    TOO_LARGE = "too_large"
    TIMEOUT = "timeout"
    INVALID_ROW = "invalid_row"
    DUPLICATE_ID = "duplicate_id"


@dataclass(frozen=True, slots=True)
class Rejected:
    """One video that could not be used, and why."""

    reason: Reason
    detail: str

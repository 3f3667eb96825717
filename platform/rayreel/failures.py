"""Reasons why a video fails. A failure is a value: it goes to quarantine and does not stop the run."""

from dataclasses import dataclass
from enum import StrEnum

from rayreel.redact import redacted


class Reason(StrEnum):
    """Why a video is in quarantine. Closed set: dashboards and retries key on it.

    Only UNREACHABLE and TIMEOUT may succeed on a retry; the others need another file or another limit.
    """

    MISSING_FILE = "missing_file"
    """There is no file at the address."""
    UNREACHABLE = "unreachable"
    """The file may exist, but could not be read: network, permission, missing file system driver."""
    PATH_NOT_ALLOWED = "path_not_allowed"
    """The address has a scheme that is not allowed, or leads to a forbidden place."""
    UNREADABLE = "unreadable"
    """The file cannot be parsed: unknown format, or damaged in an essential part."""
    CONTAINER_NOT_ALLOWED = "container_not_allowed"
    """A known format that is not allowed, such as a playlist or an image."""
    NO_VIDEO_STREAM = "no_video_stream"
    """Audio with or without cover art, or subtitles only."""
    UNSUPPORTED_CODEC = "unsupported_codec"
    """The format is known, but its frames cannot be decoded: no decoder is available, they are encrypted, or their
    colours cannot be converted (Dolby Vision profile 5, ICtCp)."""
    NO_FRAMES = "no_frames"
    """No frame of the video stream can be decoded."""
    TRUNCATED = "truncated"
    """Less than the first half of the declared duration can be decoded, as after a broken transfer."""
    TOO_LONG = "too_long"
    """Longer than `max_duration_s`."""
    TOO_LARGE = "too_large"
    """More bytes, pixels, streams or memory than the limits."""
    TIMEOUT = "timeout"
    """Decoding took longer than `timeout_s`."""
    DECODER_CRASH = "decoder_crash"
    """The decoder process crashed, or exited without a result."""
    NOT_TRANSCRIBED = "not_transcribed"
    """Speech recognition failed on the sound."""
    INVALID_ROW = "invalid_row"
    """The catalog row is invalid: a field is missing or malformed."""
    DUPLICATE_ID = "duplicate_id"
    """An earlier row of the catalog has the same video_id."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """A video that could not be used, and why. URLs in `detail` are stored without credentials and query strings."""

    reason: Reason
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redacted(self.detail))

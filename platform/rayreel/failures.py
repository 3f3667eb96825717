"""What can be wrong with a video. A failure is a value: it goes to quarantine and stops nothing."""

from dataclasses import dataclass
from enum import StrEnum

from rayreel.redact import redacted


class Reason(StrEnum):
    """Why a video is in quarantine. Closed set: dashboards and retries key on it.

    Only UNREACHABLE and TIMEOUT may go away by trying again; the others need another file or another limit.
    """

    MISSING_FILE = "missing_file"
    """Nothing is at the address."""
    UNREACHABLE = "unreachable"
    """Something may be there, but reading it failed: network, permission, a missing file system driver."""
    PATH_NOT_ALLOWED = "path_not_allowed"
    """The address has a scheme, or leads to a place, that may not be read."""
    UNREADABLE = "unreadable"
    """There is a file, and it cannot be taken apart: no known format, or damaged where that matters."""
    CONTAINER_NOT_ALLOWED = "container_not_allowed"
    """A known format that is not on the list of those opened, such as a playlist or an image."""
    NO_VIDEO_STREAM = "no_video_stream"
    """A sound file, with or without cover art, or subtitles alone."""
    UNSUPPORTED_CODEC = "unsupported_codec"
    """The format is known; its pictures cannot be decoded: no decoder is built in for them, they are encrypted, or
    their colours are of a kind that cannot be converted (Dolby Vision profile 5, ICtCp)."""
    NO_FRAMES = "no_frames"
    """A video stream in which no picture decodes."""
    TRUNCATED = "truncated"
    """Less than the first half of the declared duration can be decoded, as after a broken transfer."""
    TOO_LONG = "too_long"
    """Longer than `max_duration_s`."""
    TOO_LARGE = "too_large"
    """More bytes, pixels, streams or memory than the limits."""
    TIMEOUT = "timeout"
    """Decoding took longer than `timeout_s`."""
    DECODER_CRASH = "decoder_crash"
    """Decoding broke off: its process died, or ended without an answer."""
    INVALID_ROW = "invalid_row"
    """The catalog's row is no video: a field is missing or malformed."""
    DUPLICATE_ID = "duplicate_id"
    """An earlier row of the catalog has the same video_id."""


@dataclass(frozen=True, slots=True)
class Rejected:
    """One video that could not be used, and why. `detail` keeps no secret that an address in it may hold."""

    reason: Reason
    detail: str

    def __post_init__(self) -> None:
        object.__setattr__(self, "detail", redacted(self.detail))

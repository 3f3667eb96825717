"""The border: look into a file for decoding, or say why not."""

import time

import av
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected
from rayreel.media.codecs import CODEC_WHITELIST, refuse_audio, refuse_video
from rayreel.media.config import Limits
from rayreel.media.source import VideoFile
from rayreel.media.streams import count_streams, is_encrypted, pick_video

# Demuxers that read one self-contained file. Playlists (hls, concat, dash) and images would open other files.
ALLOWED_FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
_EINVAL = 22


def open_video(file: VideoFile, limits: Limits) -> InputContainer | Rejected:
    """Look into an open file, or say why not. Never follows a playlist to another file.

    The caller closes the container.
    """
    # An empty list of protocols: a file that names another one gets no way to open it.
    options = {
        "protocol_whitelist": "",
        "format_whitelist": ",".join(ALLOWED_FORMATS),
        "codec_whitelist": CODEC_WHITELIST,
    }
    if file.size > limits.max_bytes:
        return Rejected(Reason.TOO_LARGE, f"{file.size:,} bytes; the limit is {limits.max_bytes:,}")
    try:
        container = av.open(file, "r", options=options, timeout=limits.timeout_s)
    except (av.FFmpegError, OSError, ValueError) as error:
        return _why_not_open(file.name, error)
    if isinstance(problem := check(container, limits), Rejected):
        container.close()
        return problem
    return container


def check(container: InputContainer, limits: Limits) -> Rejected | None:
    """What a container declares, against the limits; None when all is well."""
    if (streams := count_streams(container)) > limits.max_streams:
        return Rejected(Reason.TOO_LARGE, f"{streams} streams; the limit is {limits.max_streams}")
    stream = pick_video(container)
    if stream is None:
        return Rejected(Reason.NO_VIDEO_STREAM, f"only {_contents(container)}")
    if problem := refuse_video(stream) or refuse_audio(container):
        return problem
    if is_encrypted(container, stream):
        return Rejected(Reason.UNSUPPORTED_CODEC, "its pictures are encrypted; decrypt the file first")
    return _check_size(container, stream, limits)


def _check_size(container: InputContainer, stream: VideoStream, limits: Limits) -> Rejected | None:
    context = stream.codec_context
    if context.width * context.height > limits.max_pixels:
        return Rejected(Reason.TOO_LARGE, f"frames of {context.width}x{context.height}")
    return None


def _contents(container: InputContainer) -> str:
    return ", ".join("cover art" if s.type == "video" else s.type for s in container.streams) or "nothing"


class Deadline:
    """Wall time left for one video."""

    def __init__(self, seconds: float) -> None:
        self._seconds = seconds
        self._end = time.monotonic() + seconds

    def check(self) -> None:
        """Raise TimeoutError once the time is over."""
        if time.monotonic() > self._end:
            raise TimeoutError(f"decoding took longer than {self._seconds:.0f} s")


def _why_not_open(name: str, error: Exception) -> Rejected:
    # FFmpeg answers EINVAL, not "invalid data", when it knows the format and the white list does not hold it.
    if getattr(error, "errno", None) == _EINVAL:
        return Rejected(Reason.CONTAINER_NOT_ALLOWED, f"{name}: not one of {', '.join(ALLOWED_FORMATS)}")
    return Rejected(Reason.UNREADABLE, f"{name}: {error}")

"""Open a video file for decoding and check it against the limits."""

import logging

import av
from av.codec.hwaccel import HWAccel
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected
from rayreel.media.codecs import CODEC_WHITELIST, refuse_audio, refuse_video
from rayreel.media.config import Limits
from rayreel.media.source import VideoFile
from rayreel.media.streams import count_streams, is_encrypted, pick_video

log = logging.getLogger(__name__)

# Demuxers that read one self-contained file. Playlists (hls, concat, dash) and image sequences open other files.
ALLOWED_FORMATS = ("mov", "matroska", "avi", "mpegts", "mpeg", "flv", "asf", "ogg")
_EINVAL = 22


def open_video(
    file: VideoFile, limits: Limits, hardware: HWAccel | None = None
) -> tuple[InputContainer, VideoStream] | Rejected:
    """Return the container and its main video stream, or the reason why the video cannot be decoded.

    Never follows a playlist to another file. The caller closes the container. `hardware` decodes the video stream; if
    it cannot be used, that is logged as an error and the CPU decodes.
    """
    # With no protocol allowed, FFmpeg cannot open the other files that a file may name.
    options = {
        "protocol_whitelist": "",
        "format_whitelist": ",".join(ALLOWED_FORMATS),
        "codec_whitelist": CODEC_WHITELIST,
    }
    if file.size > limits.max_bytes:
        return Rejected(Reason.TOO_LARGE, f"{file.size:,} bytes; limits.max_bytes is {limits.max_bytes:,}")
    file.seek(0)  # it may have been opened before
    try:
        container = av.open(file, "r", options=options, timeout=limits.timeout_s, hwaccel=hardware)
    except (av.FFmpegError, OSError, ValueError) as error:
        if hardware is None:
            return _why_not_open(error)
        log.error("NVDEC cannot be used, decoded on the CPU", extra={"file": file.name, "error": str(error)})
        return open_video(file, limits)
    stream = _checked(container, limits)
    if isinstance(stream, Rejected):
        container.close()
        return stream
    return container, stream


def _checked(container: InputContainer, limits: Limits) -> VideoStream | Rejected:
    """Return the main video stream if what the container declares is within the limits."""
    if (streams := count_streams(container)) > limits.max_streams:
        return Rejected(Reason.TOO_LARGE, f"{streams} streams; limits.max_streams is {limits.max_streams}")
    stream = pick_video(container)
    if stream is None:
        return Rejected(Reason.NO_VIDEO_STREAM, f"no video stream; the file has {_contents(container)}")
    if problem := refuse_video(stream) or refuse_audio(container):
        return problem
    if is_encrypted(container, stream):
        return Rejected(Reason.UNSUPPORTED_CODEC, "the video stream is encrypted; decrypt the file first")
    width, height = stream.codec_context.width, stream.codec_context.height
    if width * height > limits.max_pixels:
        return Rejected(Reason.TOO_LARGE, f"frames of {width}x{height}; limits.max_pixels is {limits.max_pixels:,}")
    return stream


def _contents(container: InputContainer) -> str:
    return ", ".join("cover art" if s.type == "video" else s.type for s in container.streams) or "no streams"


def _why_not_open(error: Exception) -> Rejected:
    # FFmpeg returns EINVAL, not "invalid data", for a format that it knows and the white list excludes.
    if getattr(error, "errno", None) == _EINVAL:
        return Rejected(Reason.CONTAINER_NOT_ALLOWED, f"the container is not one of {', '.join(ALLOWED_FORMATS)}")
    return Rejected(Reason.UNREADABLE, str(error))

"""One video file to a clip, or to the reason why not."""

import hashlib
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected
from rayreel.media.audio import sample_windows, window_starts
from rayreel.media.clip import Clip, Facts
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.fetch import local_copy
from rayreel.media.frames import sample_frames, uniform_times
from rayreel.media.open import Deadline, open_video


def decode(uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """Sampled frames (short side `size`, centre crop) and sound of the video at `uri`, or why there are none."""
    with local_copy(uri, limits) as path:
        return path if isinstance(path, Rejected) else decode_file(path, sampling, size, limits)


def decode_file(path: Path, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """As `decode`, for a local file."""
    container = open_video(path, limits)
    if isinstance(container, Rejected):
        return container
    with container:
        try:
            return _decode_open(container, path, sampling, size, Deadline(limits.timeout_s))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))
        except av.FFmpegError as error:
            return Rejected(Reason.UNREADABLE, f"{path.name}: {error}")


def _decode_open(
    container: InputContainer, path: Path, sampling: SamplingConfig, size: int, deadline: Deadline
) -> Clip | Rejected:
    video = container.streams.video[0]
    video.codec_context.thread_count = 1  # parallelism is Ray's: one video, one core
    duration_s = _duration(container, video)
    frames = sample_frames(container, video, uniform_times(duration_s, sampling.frames), size, deadline)
    if not frames:
        return Rejected(Reason.NO_FRAMES, f"{path.name}: no frame of its {duration_s:.1f} s decodes")
    windows = None
    if container.streams.audio:
        starts = window_starts(duration_s, sampling.audio_windows, sampling.audio_window_s)
        windows = sample_windows(container, container.streams.audio[0], starts, sampling.audio_window_s, deadline)
    with path.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
    return Clip(np.stack(frames), windows, _facts(video, duration_s, windows is not None), content_hash)


def _duration(container: InputContainer, video: VideoStream) -> float:
    if video.duration and video.time_base:
        return float(video.duration * video.time_base)
    if container.duration:
        return container.duration / av.time_base
    return _last_packet_end(container, video)


def _last_packet_end(container: InputContainer, video: VideoStream) -> float:
    """For streams that do not declare a duration: read packets, decode none."""
    assert video.time_base is not None
    ends = [p.pts + (p.duration or 0) for p in container.demux(video) if p.pts is not None]
    container.seek(0)
    return float((max(ends) - (video.start_time or 0)) * video.time_base) if ends else 0.0


def _facts(video: VideoStream, duration_s: float, has_audio: bool) -> Facts:
    width, height = video.codec_context.width, video.codec_context.height
    return Facts(duration_s, width, height, float(video.average_rate or 0), has_audio)

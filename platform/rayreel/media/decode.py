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
from rayreel.media.frames import sample_frames
from rayreel.media.keyframes import read_timeline
from rayreel.media.open import Deadline, open_video
from rayreel.media.packets import film_in

_HEAD_BYTES = 4096  # holds what Matroska says of its size
_PATIENCE_S = 0.5  # a target in the middle of a video is met by a frame a little before it


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
            return _decode_open(container, path, sampling, size, limits)
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))
        except av.FFmpegError as error:
            return Rejected(Reason.UNREADABLE, f"{path.name}: {error}")


def _decode_open(
    container: InputContainer, path: Path, sampling: SamplingConfig, size: int, limits: Limits
) -> Clip | Rejected:
    deadline = Deadline(limits.timeout_s)
    with path.open("rb") as file:
        film = film_in(container, deadline, head=file.read(_HEAD_BYTES))
    timeline = read_timeline(film)
    if timeline is None:
        return Rejected(Reason.NO_FRAMES, f"{path.name}: its video stream is empty")
    # Not what the container declares, which may be anything: what its packets say.
    if timeline.duration_s > limits.max_duration_s:
        return Rejected(Reason.TOO_LONG, f"{timeline.duration_s:.0f} s; the limit is {limits.max_duration_s:.0f} s")
    half_s = timeline.declared_s / 2
    cut = Rejected(Reason.TRUNCATED, f"{path.name}: less than half of its {timeline.declared_s:.1f} s can be decoded")
    if timeline.readable_s < half_s:
        return cut
    frames = sample_frames(film, timeline, sampling, size)
    if not frames.squares:
        return Rejected(Reason.NO_FRAMES, f"{path.name}: no frame of its {timeline.declared_s:.1f} s decodes")
    if frames.damaged and frames.last_s < half_s - _PATIENCE_S:
        return cut
    windows = None
    if container.streams.audio and (sound := timeline.sounds.get(container.streams.audio[0].index)):
        begin_s, end_s = sound.span(timeline.declared_s, timeline.duration_s)
        evenly = window_starts(end_s - begin_s, sampling.audio_windows, sampling.audio_window_s)
        starts = [begin_s + start_s for start_s in evenly]
        length_s, track = sampling.audio_window_s, container.streams.audio[0]
        windows = sample_windows(container, track, starts, length_s, deadline, sound=sound)
    with path.open("rb") as file:
        content_hash = hashlib.file_digest(file, "sha256").hexdigest()
    facts = _facts(film.stream, timeline.duration_s, windows is not None)
    return Clip(np.stack(frames.squares), windows, facts, content_hash)


def _facts(video: VideoStream, duration_s: float, has_audio: bool) -> Facts:
    width, height = video.codec_context.width, video.codec_context.height
    return Facts(duration_s, width, height, float(video.average_rate or 0), has_audio)

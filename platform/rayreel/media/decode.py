"""One video file to a clip, or to the reason why not."""

from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream

from rayreel.failures import Reason, Rejected
from rayreel.media.audio import sample_windows, window_starts
from rayreel.media.clip import Clip, Facts, Samples
from rayreel.media.codecs import audible_tracks
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.frames import sample_frames
from rayreel.media.keyframes import read_timeline
from rayreel.media.open import Deadline, open_video
from rayreel.media.packets import film_in
from rayreel.media.source import VideoFile, open_file

_PATIENCE_S = 0.5  # a target in the middle of a video is met by a frame a little before it


def decode(uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """Sampled frames (short side `size`, centre crop) and sound of the video at `uri`, or why there are none."""
    from rayreel.media.fetch import local_copy  # what fetches has no place in a process that only decodes

    with local_copy(uri, limits) as path:
        return path if isinstance(path, Rejected) else decode_file(path, sampling, size, limits)


def decode_file(path: Path, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """As `decode`, for a local file."""
    with open_file(path) as file:
        if isinstance(file, Rejected):
            return file
        deadline = Deadline(limits.timeout_s)
        samples = decode_samples(file, sampling, size, limits)
        if isinstance(samples, Rejected):
            return samples
        try:
            return Clip.of(samples, file.sha256(deadline.check))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))


def decode_samples(file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    """As `decode`, for a file already open and without its hash; opens no other file. What isolated decoders run."""
    container = open_video(file, limits)
    if isinstance(container, Rejected):
        return container
    with container:
        try:
            return _decode_open(container, file.name, sampling, size, Deadline(limits.timeout_s))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))
        except av.FFmpegError as error:
            return Rejected(Reason.UNREADABLE, f"{file.name}: {error}")


def _decode_open(
    container: InputContainer, name: str, sampling: SamplingConfig, size: int, deadline: Deadline
) -> Samples | Rejected:
    film = film_in(container, deadline)
    timeline = read_timeline(film)
    if timeline is None:
        return Rejected(Reason.NO_FRAMES, f"{name}: its video stream is empty")
    half_s = timeline.declared_s / 2
    cut = Rejected(Reason.TRUNCATED, f"{name}: less than half of its {timeline.declared_s:.1f} s can be decoded")
    if timeline.readable_s < half_s:
        return cut
    frames = sample_frames(film, timeline, sampling, size)
    if not frames.squares:
        return Rejected(Reason.NO_FRAMES, f"{name}: no frame of its {timeline.declared_s:.1f} s decodes")
    if frames.damaged and frames.last_s < half_s - _PATIENCE_S:
        return cut
    windows = None
    if tracks := audible_tracks(container):
        starts = window_starts(timeline.declared_s, sampling.audio_windows, sampling.audio_window_s)
        windows = sample_windows(container, tracks[0], starts, sampling.audio_window_s, deadline)
    facts = _facts(film.stream, timeline.declared_s, windows is not None)
    return Samples(np.stack(frames.squares), windows, facts)


def _facts(video: VideoStream, duration_s: float, has_audio: bool) -> Facts:
    width, height = video.codec_context.width, video.codec_context.height
    return Facts(duration_s, width, height, float(video.average_rate or 0), has_audio)

"""One video file to a clip, or to the reason why not."""

import logging
from pathlib import Path

import av
import numpy as np
from av.container import InputContainer
from av.video.stream import VideoStream
from numpy.typing import NDArray

from rayreel.failures import Reason, Rejected
from rayreel.media.audio import sample_windows, window_starts
from rayreel.media.clip import Clip, Facts, Samples
from rayreel.media.codecs import AUDIO_DECODERS, decoder_of
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.frames import sample_frames
from rayreel.media.keyframes import Timeline, read_timeline
from rayreel.media.open import Deadline, open_video
from rayreel.media.packets import film_in
from rayreel.media.refusal import Refused
from rayreel.media.sound import Sound
from rayreel.media.source import VideoFile, open_file
from rayreel.media.streams import audio_streams

log = logging.getLogger(__name__)

_FAINT = 0.003  # 50 dB below full scale: the hiss of an input with nothing plugged in
_HEAD_BYTES = 4096  # holds what Matroska says of its size
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
            return _decode_open(container, file, sampling, size, limits)
        except Refused as refused:
            return Rejected(refused.reason, f"{file.name}: {refused}")
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))
        except av.FFmpegError as error:
            return Rejected(Reason.UNREADABLE, f"{file.name}: {error}")


def _decode_open(
    container: InputContainer, file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits
) -> Samples | Rejected:
    deadline, name = Deadline(limits.timeout_s), file.name
    film = film_in(container, deadline, head=file.head(_HEAD_BYTES))
    timeline = read_timeline(film)
    if timeline is None:
        return Rejected(Reason.NO_FRAMES, f"{name}: its video stream is empty")
    # Not what the container declares, which may be anything: what its packets say.
    if timeline.duration_s > limits.max_duration_s:
        return Rejected(Reason.TOO_LONG, f"{timeline.duration_s:.0f} s; the limit is {limits.max_duration_s:.0f} s")
    half_s = timeline.declared_s / 2
    cut = Rejected(Reason.TRUNCATED, f"{name}: less than half of its {timeline.declared_s:.1f} s can be decoded")
    if timeline.readable_s < half_s:
        return cut
    frames = sample_frames(film, timeline, sampling, size)
    if not frames.squares:
        return Rejected(Reason.NO_FRAMES, f"{name}: no frame of its {timeline.declared_s:.1f} s decodes")
    if frames.damaged and frames.last_s < half_s - _PATIENCE_S:
        return cut
    windows = _sound(container, timeline, sampling, deadline)
    facts = _facts(film.stream, timeline.duration_s, windows is not None)
    return Samples(np.stack(frames.squares), windows, facts)


def _sound(
    container: InputContainer, timeline: Timeline, sampling: SamplingConfig, deadline: Deadline
) -> NDArray[np.float32] | None:
    """Windows of the first track that is audible, in a player's order; broken sound costs no pictures.

    A track that is nearly silent is taken when no other is louder. Tracks after the first audible one are not read.
    """
    faint: NDArray[np.float32] | None = None
    for stream in audio_streams(container):
        where = {"file": container.name, "stream": stream.index}
        if decoder_of(stream) not in AUDIO_DECODERS:
            log.error("sound left out", extra={**where, "error": f"{decoder_of(stream) or 'its codec'} is not decoded"})
            continue
        if (sound := timeline.sounds.get(stream.index)) is None:  # a track without packets
            continue
        try:
            starts_s, window_s = _starts_s(sound, timeline, sampling), sampling.audio_window_s
            windows = sample_windows(container, stream, starts_s, window_s, deadline, sound=sound)
        except (av.FFmpegError, Refused) as error:
            log.error("sound left out", extra={**where, "error": str(error)})
            continue
        if windows is not None and np.abs(windows).max() >= _FAINT:
            return windows
        faint = windows if faint is None else faint
    return faint


def _starts_s(sound: Sound, timeline: Timeline, sampling: SamplingConfig) -> list[float]:
    """Starts of the windows, spread over the time in which a track is heard."""
    begin_s, end_s = sound.span(timeline.declared_s, timeline.duration_s)
    evenly = window_starts(end_s - begin_s, sampling.audio_windows, sampling.audio_window_s)
    return [begin_s + start_s for start_s in evenly]


def _facts(video: VideoStream, duration_s: float, has_audio: bool) -> Facts:
    width, height = video.codec_context.width, video.codec_context.height
    return Facts(duration_s, width, height, float(video.average_rate or 0), has_audio)

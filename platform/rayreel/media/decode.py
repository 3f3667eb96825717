"""Decode one video file to a clip, or to the reason why it cannot be used."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import av
import numpy as np
from av.codec.hwaccel import HWAccel
from av.video.stream import VideoStream

from rayreel.deadline import Deadline
from rayreel.failures import Reason, Rejected
from rayreel.media.audio import Sound, sample_windows, window_starts
from rayreel.media.clip import Clip, MediaFacts, Samples
from rayreel.media.codecs import AUDIO_DECODERS, decoder_of
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.frames import sample_frames
from rayreel.media.keyframes import Timeline, read_timeline
from rayreel.media.open import open_video
from rayreel.media.packets import Film, film_in
from rayreel.media.plan import target_times
from rayreel.media.refusal import RefusedMedia
from rayreel.media.sound import SoundTrack
from rayreel.media.source import VideoFile, open_file
from rayreel.media.streams import audio_streams

log = logging.getLogger(__name__)

T = TypeVar("T")
# Returns the hardware that should decode a film; None for the CPU.
Accelerate = Callable[[Film, SamplingConfig], HWAccel | None]

_FAINT = 0.003  # 50 dB below full scale: the hiss of an unconnected input
_HEAD_BYTES = 4096  # enough for the size that Matroska declares
_PATIENCE_S = 0.5  # the frame taken for a target in the middle of a video may be a little before it


def decode(uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """Decode the video at `uri` to sampled frames (short side `size`, centre crop) and audio windows."""
    from rayreel.media.fetch import local_copy  # not at the top: the sandboxed decoder must not import the network code

    with local_copy(uri, limits) as path:
        return path if isinstance(path, Rejected) else decode_file(path, sampling, size, limits)


def decode_file(path: Path, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """Decode a local file, as `decode` does."""
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
            return Rejected(Reason.TIMEOUT, f"{file.name}: {error}")


def decode_samples(
    file: VideoFile, sampling: SamplingConfig, size: int, limits: Limits, accelerate: Accelerate | None = None
) -> Samples | Rejected:
    """Decode an open file, as `decode` does, without hashing it. Runs in the sandbox; opens no other file.

    `accelerate` chooses hardware for costly videos, which needs devices that the sandbox forbids.
    """
    deadline = Deadline(limits.timeout_s)

    def sample(film: Film) -> Samples | Rejected:
        return _samples(film, sampling, size, limits)

    def sample_or_accelerate(film: Film) -> Samples | Rejected | HWAccel:
        return (None if accelerate is None else accelerate(film, sampling)) or sample(film)

    outcome = _with_film(file, limits, deadline, sample_or_accelerate)
    if isinstance(outcome, HWAccel):
        outcome = _with_film(file, limits, deadline, sample, outcome)
    if isinstance(outcome, Rejected):
        return replace(outcome, detail=f"{file.name}: {outcome.detail}")
    return outcome


def _with_film(
    file: VideoFile, limits: Limits, deadline: Deadline, work: Callable[[Film], T], hardware: HWAccel | None = None
) -> T | Rejected:
    """Return what `work` makes of an open file, or why it cannot be decoded."""
    opened = open_video(file, limits, hardware)
    if isinstance(opened, Rejected):
        return opened
    container, stream = opened
    with container:
        try:
            return work(film_in(container, stream, deadline, head=file.head(_HEAD_BYTES)))
        except RefusedMedia as refused:
            return Rejected(refused.reason, str(refused))
        except TimeoutError as error:
            return Rejected(Reason.TIMEOUT, str(error))
        except av.error.MemoryError as error:
            return Rejected(Reason.TOO_LARGE, str(error))
        except av.FFmpegError as error:
            return Rejected(Reason.UNREADABLE, str(error))


def _samples(film: Film, sampling: SamplingConfig, size: int, limits: Limits) -> Samples | Rejected:
    timeline = read_timeline(film)
    if timeline is None:
        return Rejected(Reason.NO_FRAMES, "the video stream is empty")
    # The duration by the packets: the one that the container declares may be wrong.
    if timeline.duration_s > limits.max_duration_s:
        detail = f"{timeline.duration_s:.0f} s; limits.max_duration_s is {limits.max_duration_s:.0f}"
        return Rejected(Reason.TOO_LONG, detail)
    half_s = timeline.declared_s / 2
    cut = Rejected(Reason.TRUNCATED, f"less than half of its {timeline.declared_s:.1f} s can be decoded")
    if timeline.readable_s < half_s:
        return cut
    frames = sample_frames(film, timeline, sampling, size)
    if not frames.squares:
        return Rejected(Reason.NO_FRAMES, f"no frame of its {timeline.declared_s:.1f} s can be decoded")
    asked_s = target_times(sampling, timeline.readable_s)[-1]  # at fixed intervals, it may be in the first half
    if frames.damaged and frames.last_s < min(half_s, asked_s) - _PATIENCE_S:
        return cut
    sound = _audio(film, timeline, sampling)
    windows, track = (None, None) if sound is None else (sound.windows, sound.track)
    facts = _facts(film.stream, timeline.duration_s, windows is not None)
    return Samples(np.stack(frames.squares), windows, facts, track=track)


def _audio(film: Film, timeline: Timeline, sampling: SamplingConfig) -> Sound | None:
    """Return the first audible track, in a player's order of preference; None if there is no audio.

    A nearly silent track is used only if no other is louder. Tracks after the first audible one are not read. A broken
    track is logged and left out, and the frames are kept.
    """
    faint: Sound | None = None
    for stream in audio_streams(film.container):
        where = {"file": film.container.name, "stream": stream.index}
        if decoder_of(stream) not in AUDIO_DECODERS:
            log.error("audio track left out", extra={**where, "error": f"unsupported codec {decoder_of(stream)}"})
            continue
        if (sound := timeline.sounds.get(stream.index)) is None:  # a track without packets
            continue
        try:
            starts_s, window_s = _starts_s(sound, timeline, sampling), sampling.audio_window_s
            track_s = min(sampling.track_s, sound.span(timeline.declared_s, timeline.duration_s)[1])
            found = sample_windows(
                film.container, stream, starts_s, window_s, film.deadline, sound=sound, track_s=max(0.0, track_s)
            )
        except MemoryError:
            raise
        except (av.FFmpegError, RefusedMedia) as error:
            log.error("audio track left out", extra={**where, "error": str(error)})
            continue
        if found is not None and found.loudest >= _FAINT:
            return found
        faint = found if faint is None else faint
    return faint


def _starts_s(sound: SoundTrack, timeline: Timeline, sampling: SamplingConfig) -> list[float]:
    """Return the starts of the windows, spread evenly over the track or its first seconds, seconds."""
    begin_s, end_s = sound.span(timeline.declared_s, timeline.duration_s)
    if sampling.audio_first_s is not None:
        end_s = min(end_s, begin_s + sampling.audio_first_s)
    evenly = window_starts(end_s - begin_s, sampling.audio_windows, sampling.audio_window_s)
    return [begin_s + start_s for start_s in evenly]


def _facts(video: VideoStream, duration_s: float, has_audio: bool) -> MediaFacts:
    width, height = video.codec_context.width, video.codec_context.height
    return MediaFacts(duration_s, width, height, float(video.average_rate or 0), has_audio)

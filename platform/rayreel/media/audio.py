"""Sample uniform windows of audio, 16 kHz mono."""

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import av
import numpy as np
from av.audio.frame import AudioFrame
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.packet import Packet
from numpy.typing import NDArray

from rayreel.deadline import Deadline
from rayreel.failures import Reason
from rayreel.media.config import AUDIO_RATE_HZ
from rayreel.media.mono import to_mono
from rayreel.media.packets import UNREADABLE_FROM_HERE, rewind
from rayreel.media.refusal import RefusedMedia
from rayreel.media.sound import SoundTrack
from rayreel.media.streams import is_encrypted_packet

log = logging.getLogger(__name__)

# Codecs with overlapping blocks need a little audio before the seek point to decode correctly.
_PREROLL_S = 0.2
_JOIN_S = 0.5  # up to this gap, decoding through is cheaper than a seek and its preroll
_JUMP_S = 0.05  # a larger step between frames is a gap in the track; a smaller one is rounding
_SILENCE = 1e-4
_FULL_SCALE = 32767  # of int16


@dataclass(frozen=True, slots=True)
class Sound:
    """float32 [w, samples] in [-1, 1] of the windows; int16 [samples] of the beginning. None if silent."""

    windows: NDArray[np.float32] | None
    track: NDArray[np.int16] | None = None

    @property
    def loudest(self) -> float:
        """The largest sample, of 1; 0 if all is silent."""
        of_windows = 0.0 if self.windows is None else float(np.abs(self.windows).max())
        of_track = 0.0 if self.track is None else float(np.abs(self.track.astype(np.int32)).max()) / _FULL_SCALE
        return max(of_windows, of_track)


@dataclass(slots=True)
class _Run:
    """A stretch that is decoded in one go, seconds, and the windows in it."""

    begin_s: float
    end_s: float
    starts_s: list[float]


def window_starts(duration_s: float, windows: int, window_s: float) -> list[float]:
    """Return the starts of up to `windows` evenly spread windows that do not overlap, seconds; at least one."""
    count = max(1, min(windows, int(duration_s // window_s)))
    return list(np.linspace(0, max(0.0, duration_s - window_s), count)) if count > 1 else [0.0]


def sample_windows(
    container: InputContainer,
    stream: AudioStream,
    starts_s: list[float],
    window_s: float,
    deadline: Deadline,
    *,
    sound: SoundTrack,
    track_s: float = 0,
) -> Sound | None:
    """Return windows of `window_s` at `starts_s` seconds from the first picture; None if all is silent.

    A window that the track covers in part is padded with silence; one outside the track is left out. With `track_s`,
    the first seconds from the first picture are decoded as a whole, and the windows in them are cut from that.
    """
    found: list[NDArray[np.float32]] = []
    whole: NDArray[np.int16] | None = None
    for number, run in enumerate(_join(starts_s, window_s, track_s)):
        length_s = run.end_s - run.begin_s
        track, first, end = _track(
            _frames(container, stream, run.begin_s, length_s, deadline=deadline, sound=sound), run.begin_s, length_s
        )
        length = round(window_s * AUDIO_RATE_HZ)
        begins = [round((start_s - run.begin_s) * AUDIO_RATE_HZ) for start_s in run.starts_s]
        found += [track[begin:][:length] for begin in begins if begin < end and first < begin + length]
        if track_s and number == 0:
            picture = round(-run.begin_s * AUDIO_RATE_HZ)
            kept = track[picture : min(end, picture + round(track_s * AUDIO_RATE_HZ))]
            whole = np.rint(kept * _FULL_SCALE).astype(np.int16) if np.abs(kept).max(initial=0) >= _SILENCE else None
    if not found and whole is None:
        log.error("audio track cannot be decoded", extra={"file": container.name, "stream": stream.index})
        return None
    audible = max((float(np.abs(window).max()) for window in found), default=0.0) >= _SILENCE
    return Sound(np.stack(found) if audible else None, whole) if audible or whole is not None else None


def _join(starts_s: Sequence[float], window_s: float, track_s: float) -> list[_Run]:
    """Group windows that are close enough to decode in one run. The first `track_s` seconds are in one run."""
    runs = [_Run(min(0.0, starts_s[0]), track_s, [])] if track_s else []
    for start_s in starts_s:
        if not runs or start_s - runs[-1].end_s >= _JOIN_S:
            runs.append(_Run(start_s, start_s, []))
        runs[-1].starts_s.append(start_s)
        runs[-1].end_s = max(runs[-1].end_s, start_s + window_s)
    return runs


def _track(
    frames: Iterator[tuple[float, AudioFrame]], start_s: float, length_s: float
) -> tuple[NDArray[np.float32], int, int]:
    """Return the samples from `start_s`, and the first and last position that the frames cover."""
    # One extra sample, because the window starts are rounded.
    track = np.zeros(round(length_s * AUDIO_RATE_HZ) + 1, dtype=np.float32)
    first, end = len(track), 0
    for run in _runs(frames):
        position = round((run[0][0] - start_s) * AUDIO_RATE_HZ)
        for samples in to_mono([frame for _, frame in run]):
            written = _place(track, samples, position)
            first, end = (min(first, written.start), max(end, written.stop)) if written else (first, end)
            position += len(samples)
    # Codecs overshoot, and damaged packets may decode to any value.
    return np.clip(np.nan_to_num(track, copy=False), -1, 1, out=track), first, end


def _frames(
    container: InputContainer,
    stream: AudioStream,
    start_s: float,
    length_s: float,
    *,
    deadline: Deadline,
    sound: SoundTrack,
) -> Iterator[tuple[float, AudioFrame]]:
    """Yield audio frames with their times, seconds from the first picture; skips broken packets."""
    assert stream.time_base is not None
    tick_s = float(stream.time_base)  # arithmetic on Fractions would take as long as decoding
    begin = int((max(sound.begin_s, start_s - _PREROLL_S) + sound.zero_s) / tick_s)
    for packet in _packets(container, stream, begin, sound):
        deadline.check()
        for frame in _decoded(packet):
            if frame.pts is not None:
                at_s = frame.pts * tick_s - sound.zero_s
                if at_s > start_s + length_s:
                    return
                yield at_s, frame


def _packets(
    container: InputContainer, stream: AudioStream, begin: int, sound: SoundTrack
) -> Iterator["Packet[AudioStream]"]:
    """Yield the packets from tick `begin`, each with its time on the continuous clock."""
    try:
        if sound.packets is None:
            container.seek(begin, stream=stream)
            packets = container.demux(stream)
        else:
            packets = _in_order(container, stream, begin, sound.packets)
        for place, packet in enumerate(packets):
            if place == 0 and is_encrypted_packet(packet):
                raise RefusedMedia(Reason.UNSUPPORTED_CODEC, "the audio track is encrypted")
            yield packet
    except UNREADABLE_FROM_HERE as error:
        log.debug("audio ends early", extra={"file": container.name, "error": str(error)})


def _in_order(
    container: InputContainer, stream: AudioStream, begin: int, packets: NDArray[np.int64]
) -> Iterator["Packet[AudioStream]"]:
    """Yield the packets from tick `begin` of a file whose times are wrong, by reading from its start."""
    rewind(container)
    timed = (packet for packet in container.demux(stream) if packet.dts is not None or packet.pts is not None)
    for packet, pts in zip(timed, packets.tolist(), strict=False):
        if pts >= begin:
            packet.pts = pts
            yield packet


def _decoded(packet: "Packet[AudioStream]") -> list[AudioFrame]:
    try:
        return packet.decode()
    except MemoryError:
        raise
    except av.FFmpegError as error:  # damaged packets raise many different errors
        log.debug("audio packet skipped", extra={"error": str(error)})
        return []


def _runs(frames: Iterator[tuple[float, AudioFrame]]) -> Iterator[list[tuple[float, AudioFrame]]]:
    """Split frames into runs for one resampler: of one format, without gaps."""
    run: list[tuple[float, AudioFrame]] = []
    for at_s, frame in frames:
        if run and not _continues(*run[-1], at_s, frame):
            yield run
            run = []
        run.append((at_s, frame))
    if run:
        yield run


def _continues(before_s: float, before: AudioFrame, at_s: float, frame: AudioFrame) -> bool:
    def form(frame: AudioFrame) -> tuple[str, str, int]:
        return frame.format.name, frame.layout.name, frame.sample_rate

    return form(before) == form(frame) and abs(at_s - before_s - before.samples / before.sample_rate) < _JUMP_S


def _place(track: NDArray[np.float32], samples: NDArray[np.float32], position: int) -> range:
    """Copy samples to `position`, which may be outside the track; return the range that was written."""
    begin, end = max(0, position), min(len(track), position + len(samples))
    if begin < end:
        track[begin:end] = samples[begin - position : end - position]
    return range(begin, end)

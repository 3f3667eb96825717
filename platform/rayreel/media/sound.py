"""The span of each audio track on the timeline of the pictures."""

import math
from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from av.audio.stream import AudioStream
from av.container import InputContainer
from numpy.typing import NDArray

from rayreel.media.packets import Film
from rayreel.media.scan import SoundPackets

_SAME_S = 0.5  # audio that begins and ends this near to the pictures covers them


@dataclass(frozen=True, slots=True)
class SoundTrack:
    """A track from `begin_s` to `end_s`, seconds from the first picture; `end_s` is infinite if not known.

    zero_s: the time of the first picture on the track's own clock. packets: the corrected times of all packets in file
    order, ticks of that clock; only if the times in the file are wrong, so that seeking by them would fail.
    """

    begin_s: float
    end_s: float
    zero_s: float
    packets: NDArray[np.int64] | None = None

    def span(self, pictures_s: float, duration_s: float) -> tuple[float, float]:
        """Return the span in which to take windows, seconds, for pictures that last `pictures_s`.

        It is the span of the pictures if the track covers them, else that of the track.
        """
        end_s = min(self.end_s, duration_s)
        if abs(self.begin_s) <= _SAME_S and abs(end_s - pictures_s) <= _SAME_S:
            return 0.0, pictures_s
        return self.begin_s, max(self.begin_s, end_s)


def indexed_tracks(container: InputContainer, zero_s: float) -> dict[int, SoundTrack]:
    """Return every track as the container declares it, checked against the index."""
    return {stream.index: _indexed(stream, zero_s) for stream in container.streams.audio}


def packed_tracks(film: Film, packets: Mapping[int, SoundPackets], zero_s: float) -> dict[int, SoundTrack]:
    """Return the tracks that have packets, with spans by these packets."""
    tracks = film.container.streams.audio
    return {track.index: _packed(track, packets[track.index], zero_s) for track in tracks if track.index in packets}


def _indexed(stream: AudioStream, zero_s: float) -> SoundTrack:
    tick_s = float(stream.time_base or 1)
    begin = stream.start_time or 0
    end_s = begin * tick_s + stream.duration * tick_s if stream.duration else math.inf
    if (count := len(stream.index_entries)) > 1:
        first, last = stream.index_entries[0].timestamp, stream.index_entries[-1].timestamp
        listed_s = (last + (last - first) / (count - 1)) * tick_s
        end_s = end_s if abs(end_s - listed_s) <= _SAME_S else listed_s
    return SoundTrack(begin * tick_s - zero_s, end_s - zero_s, zero_s)


def _packed(stream: AudioStream, found: SoundPackets, zero_s: float) -> SoundTrack:
    tick_s = float(stream.time_base or 1)
    begin_s, end_s = float(found.begins.min()) * tick_s, float(found.ends.max()) * tick_s
    return SoundTrack(begin_s - zero_s, end_s - zero_s, zero_s, found.begins if found.moved else None)

"""A video's timeline: its start, its keyframes and how far it can be read. Nothing is decoded."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from statistics import median

import av

from rayreel.media.packets import Film, Sample, first_shown, read_packets, survey, to_sample
from rayreel.media.scan import HEADLESS, scan
from rayreel.media.sound import SoundTrack, indexed_tracks, packed_tracks

# Containers measure their duration from another moment than the first picture, or to the end of the audio. A declared
# duration within this of the packets' duration is the same; less for very short videos.
_TOLERANCE_S = 0.5


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times are in seconds from the first picture shown; ticks are those of the stream's clock.

    Times are not from the declared start, because some containers (AVI) store decode times, which are a frame late.
    `starts` has the tick to seek to for each keyframe. It is empty if the container has no complete index; then
    `samples` has every packet, on one continuous clock. `declared_s` is the duration of the pictures: the declared one,
    or that of the packets if they differ. `readable_s` is less if the file is truncated. `sounds` is by stream index.
    `edited`: whether an edit list hides pictures.
    """

    origin: int
    tick_s: float
    keyframes_s: tuple[float, ...]
    declared_s: float
    readable_s: float
    starts: tuple[int, ...] = ()
    samples: tuple[Sample, ...] = ()
    sounds: Mapping[int, SoundTrack] = field(default_factory=dict)
    edited: bool = False

    def tick(self, time_s: float) -> int:
        """Return the last tick at or before a time; robust to rounding."""
        return self.origin + int(time_s / self.tick_s + 1e-6)

    def seconds(self, tick: int) -> float:
        """Return the time of a tick."""
        return (tick - self.origin) * self.tick_s

    @property
    def duration_s(self) -> float:
        """The duration of the video: to the end of the pictures, or of the audio if that is clearly later.

        Ends within half a second of each other are the same. An edit list that cuts the pictures also ends the video.
        """
        ends = [] if self.edited else [sound.end_s for sound in self.sounds.values() if math.isfinite(sound.end_s)]
        audio_s = max(ends, default=0.0)
        return audio_s if audio_s > self.declared_s + _TOLERANCE_S else self.declared_s


def read_timeline(film: Film) -> Timeline | None:
    """Read the timeline from the index if it is complete, else from all packets; None if there is no packet."""
    return _indexed(film) or _scanned(film)


_Entry = tuple[int, int, bool, bool]  # of the index: tick, byte offset of its end, is a keyframe, is not shown


def _indexed(film: Film) -> Timeline | None:
    if film.is_matroska:
        film.container.seek(0)  # FFmpeg reads the index at the end of the file at the first seek
    # Copied at once: an entry points into FFmpeg's table, which is reallocated when reading adds entries.
    entries = [(e.timestamp, e.pos + e.size, e.is_keyframe, e.is_discard) for e in film.stream.index_entries]
    starts = tuple(sorted(timestamp for timestamp, _, keyframe, _ in entries if keyframe))
    if not starts or not _is_whole(film, starts, len(entries)):
        return None
    found = first_shown(to_sample(packet, film.has_pts) for packet in read_packets(film, starts[0]))
    if found is None:
        return None
    key, origin = found
    # The index has decode times or display times; the distances between keyframes are the same in both.
    delay = key - starts[0]
    # FFmpeg seeks in MP4 by decode time, and one keyframe further back if that one is shown after the target.
    seeks = tuple(max(start + delay, end - 1) for start, end in pairwise((*starts, entries[-1][0] + 1)))
    ends = _ends_in_tail(film, seeks[-1], origin) if film.is_matroska else _ends_in_index(film, entries, seeks[-1], key)
    if ends is None:
        return None
    end, sounds = ends
    missing = [timestamp for timestamp, end_byte, *_ in entries if end_byte > film.container.size]
    listed_s = (end - origin) * film.tick_s
    declared_s = max(_declared(film), listed_s) if missing else _agreed(film, listed_s)
    readable_s = (min(missing) - starts[0]) * film.tick_s if missing else declared_s
    return Timeline(
        origin,
        film.tick_s,
        tuple((start + delay - origin) * film.tick_s for start in starts),
        declared_s,
        min(readable_s, declared_s),
        seeks,
        sounds=sounds or indexed_tracks(film.container, origin * film.tick_s),
        edited=film.is_mov and any(discarded for *_, discarded in entries),
    )


def _is_whole(film: Film, starts: Sequence[int], entries: int) -> bool:
    """Whether the index has every packet (MP4, AVI), or keyframes (Matroska) up to near the declared end."""
    if entries == film.stream.frames:
        return True
    if not film.is_matroska or len(starts) < 2 or not _declared(film):
        return False
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    return _declared(film) / film.tick_s - (starts[-1] - starts[0]) <= 2 * max(gaps)


def _ends_in_index(film: Film, entries: Sequence[_Entry], last: int, key: int) -> tuple[int, dict[int, SoundTrack]]:
    """Return the tick at which the last picture of a complete index ends, and no sounds.

    An index does not have the duration of the last picture. It is read if the container declares a longer video.
    """
    shown = entries[-1][0] + key - entries[0][0]
    end = shown + round((entries[-1][0] - entries[0][0]) / max(1, len(entries) - 1))
    if _declared(film) > (end - key) * film.tick_s + _TOLERANCE_S and entries[-1][1] <= film.container.size:
        end = max((sample.end for sample in survey(film, last)), default=end)
    return end, {}


def _ends_in_tail(film: Film, last: int, origin: int) -> tuple[int, dict[int, SoundTrack]] | None:
    """Return the tick at which the last picture ends, and the sounds, from the packets after the last indexed keyframe.

    None if there are more keyframes there, which means that the index is incomplete, or if the file is truncated.
    """
    tail = scan(film, last)
    if tail.cut or sum(sample.keyframe for sample in tail.samples) != 1:
        return None
    begun = indexed_tracks(film.container, origin * film.tick_s)
    ended = packed_tracks(film, tail.sounds, origin * film.tick_s)
    sounds = {number: replace(sound, end_s=ended[number].end_s) for number, sound in begun.items() if number in ended}
    return _last_end(tail.samples), begun | sounds


def _scanned(film: Film) -> Timeline | None:
    found = scan(film)
    samples = found.samples
    if samples and not any(sample.keyframe for sample in samples):
        samples[0] = samples[0]._replace(keyframe=True)  # streams with intra refresh may flag no keyframe
    first = first_shown(samples)
    if first is None:
        return None
    origin = first[1]
    sounds = packed_tracks(film, found.sounds, origin * film.tick_s)
    extent_s = (_last_end(samples) - origin) * film.tick_s
    declared_s = _agreed(film, extent_s)
    audio_s = max((sound.end_s for sound in sounds.values()), default=0.0)
    if found.cut and not extent_s < _declared(film) / 2 <= audio_s:
        # The rest is lost, unless only the audio lasts to the declared end.
        declared_s = max(declared_s, _declared(film))
    return Timeline(
        origin,
        film.tick_s,
        # Edit lists hide keyframes where other pictures are shown.
        tuple(sorted((s.pts - origin) * film.tick_s for s in samples if s.keyframe and (s.shown or s.pts <= origin))),
        declared_s,
        min(extent_s, declared_s),
        samples=tuple(samples),
        sounds=sounds,
        edited=film.is_mov and len(film.stream.index_entries) < film.stream.frames,
    )


def _last_end(samples: Sequence[Sample]) -> int:
    """Return the tick at which the last picture ends; if its packet has no duration, by the median step."""
    last = max((sample for sample in samples if sample.shown), key=lambda sample: sample.end, default=samples[0])
    if last.end > last.pts:
        return last.end
    shown = sorted(sample.pts for sample in samples if sample.shown)
    return last.end + int(median([later - earlier for earlier, later in pairwise(shown)] or [0]))


def _agreed(film: Film, packets_s: float) -> float:
    """Return the declared duration if the packets agree with it, else theirs, seconds."""
    declared_s = _declared(film)
    return declared_s if abs(declared_s - packets_s) <= min(_TOLERANCE_S, packets_s / 4) else packets_s


def _declared(film: Film) -> float:
    """Return the declared duration, seconds; 0 if there is none."""
    if film.container.format.name in HEADLESS:
        return 0.0
    if film.container.format.name == "avi":  # FFmpeg's own estimate depends on the size of the file
        return film.stream.frames * film.tick_s
    if film.stream.duration:
        return film.stream.duration * film.tick_s
    # Matroska's duration is the time of its end, even if its start is not 0.
    start = max(0, film.container.start_time or 0) if film.is_matroska else 0
    return max(0, (film.container.duration or 0) - start) / av.time_base

"""A video's time line: where it begins, how far it can be read, where its keyframes are. Nothing is decoded."""

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import av

from rayreel.media.packets import Film, Sample, first_shown, read_packets, survey, to_sample


@dataclass(frozen=True, slots=True)
class Timeline:
    """Times count from the first picture shown, in seconds; ticks are those of the stream's clock.

    Not from the declared start: some containers (AVI) store decode times, a frame late.
    `starts` are where to seek to for each keyframe; empty where the container has no whole index, and then `samples`
    holds every packet. `readable_s` is less than `declared_s` where the file is cut short.
    """

    origin: int
    tick_s: float
    keyframes_s: tuple[float, ...]
    declared_s: float
    readable_s: float
    starts: tuple[int, ...] = ()
    samples: tuple[Sample, ...] = ()

    def tick(self, time_s: float) -> int:
        """The last tick at or before a time, for any rounding in between."""
        return self.origin + int(time_s / self.tick_s + 1e-6)

    def seconds(self, tick: int) -> float:
        """When a tick is."""
        return (tick - self.origin) * self.tick_s


def read_timeline(film: Film) -> Timeline | None:
    """From the index if it is whole, else from all packets; None when there is no packet."""
    return _indexed(film) or _scanned(film)


def _indexed(film: Film) -> Timeline | None:
    if _is_matroska(film):
        film.container.seek(0)  # FFmpeg reads the index at the end of the file at the first seek
    # Copied at once: an entry points into FFmpeg's table, which moves when reading adds to it.
    entries = [(entry.timestamp, entry.pos + entry.size, entry.is_keyframe) for entry in film.stream.index_entries]
    starts = tuple(sorted(timestamp for timestamp, _, keyframe in entries if keyframe))
    if not starts or not _is_whole(film, starts, len(entries)):
        return None
    found = first_shown(to_sample(packet, film.told_pts) for packet in read_packets(film, starts[0]))
    if found is None:
        return None
    key, origin = found
    # The index holds decode times or display times; from keyframe to keyframe both run alike.
    delay = key - starts[0]
    keyframes_s = tuple((start + delay - origin) * film.tick_s for start in starts)
    # MP4 is searched by decode time, yet one keyframe further back if that is shown after the time asked for.
    seeks = tuple(max(start + delay, end - 1) for start, end in pairwise((*starts, entries[-1][0] + 1)))
    declared_s = _declared(film) or (entries[-1][0] - starts[0]) * film.tick_s
    missing = [timestamp for timestamp, end, _ in entries if end > film.container.size]
    readable_s = (min(missing) - starts[0]) * film.tick_s if missing else declared_s
    return Timeline(origin, film.tick_s, keyframes_s, declared_s, min(readable_s, declared_s), seeks)


def _is_whole(film: Film, starts: Sequence[int], entries: int) -> bool:
    """Whether the index names every packet (MP4, AVI), or keyframes (Matroska) up to near the declared end."""
    if entries == film.stream.frames:
        return True
    if not _is_matroska(film) or len(starts) < 2:
        return False
    gaps = [later - earlier for earlier, later in pairwise(starts)]
    return _declared(film) / film.tick_s - (starts[-1] - starts[0]) <= 2 * max(gaps)


def _scanned(film: Film) -> Timeline | None:
    samples = survey(film, None)
    if samples and not any(sample.keyframe for sample in samples):
        samples[0] = samples[0]._replace(keyframe=True)  # some streams refresh in slices and flag nothing
    found = first_shown(samples)
    if found is None:
        return None
    origin = found[1]
    keyframes_s = tuple((sample.pts - origin) * film.tick_s for sample in samples if sample.keyframe)
    extent_s = (max(sample.end for sample in samples) - origin) * film.tick_s
    declared_s = _declared(film) or extent_s
    if extent_s < declared_s / 2 <= _all_streams_s(film):
        declared_s = extent_s  # pictures end before the sound does: no damage
    return Timeline(origin, film.tick_s, keyframes_s, declared_s, min(extent_s, declared_s), samples=tuple(samples))


def _declared(film: Film) -> float:
    """What the container says of the duration, seconds; 0 when it says nothing."""
    if film.stream.duration:
        return film.stream.duration * film.tick_s
    # Matroska's duration is the time of its end, also where its beginning is not at 0.
    start = max(0, film.container.start_time or 0) if _is_matroska(film) else 0
    return max(0, (film.container.duration or 0) - start) / av.time_base


def _all_streams_s(film: Film) -> float:
    """How far packets of any kind can be read, seconds."""
    film.container.seek(0)
    ends = [float((p.pts + (p.duration or 0)) * p.time_base) for p in film.container.demux() if p.pts is not None]
    return max(ends, default=0.0) - (film.container.start_time or 0) / av.time_base


def _is_matroska(film: Film) -> bool:
    return "matroska" in film.container.format.name

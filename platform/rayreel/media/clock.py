"""One continuous clock for a file whose own clock wraps, restarts or jumps.

Broadcast clocks count to 2**33 and start again at 0. In recordings that are concatenated byte by byte, each has its own
clock. Some recorders write a single wrong time. This module computes the times at which a player shows the packets:

1. A few packets whose times leave a stream's clock and come back are outliers. Their times are interpolated.
2. Each stream is split where its clock jumps. A jump by a whole turn of the counter is a wrap and not a split.
3. Runs of several streams form a piece: a stream that jumps to where another one jumped before joins that piece, so
   audio and video of one recording stay together.
4. Each piece follows the previous one as early as possible, so that no stream overlaps its own end.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Seconds = NDArray[np.float64]

# A longer step back means another clock. Rounding and broken reordering also step back, by a few frames at most.
_BACK_S = 0.25
_NEAR_S = 10.0  # at any place in the file the streams of one recording are this close together, as in the ffmpeg tool
_STEPS = 20  # a step of this many typical ones is a jump; at low frame rates each picture may be shown for minutes
ABSURD_S = 10.0  # no picture is shown later than this (or than _STEPS typical steps) after it is decoded
_REORDERED = 4  # steps by which a time may deviate and still be on the same clock
_CAUGHT_UP = 20  # packets after which decoding has caught up with a pause
_TOGETHER_S = 1.0  # packets this close to the first one after a jump belong to it
_OUTLIERS = 8  # up to this many consecutive packets are outliers; more are another recording


@dataclass(frozen=True, slots=True)
class Track:
    """Packets of one stream in the order of the file.

    order: int [n], ascending, positions among the packets of all streams (indices or byte offsets). times_s: decode
    times; begins_s and ends_s: when it is presented; seconds [n].
    """

    order: NDArray[np.int64]
    times_s: Seconds
    begins_s: Seconds
    ends_s: Seconds

    @property
    def step_s(self) -> float:
        """The median time from packet to packet, seconds."""
        steps = np.diff(self.times_s)
        steps = steps[steps > 0]
        return float(np.median(steps)) if len(steps) else 0.0


@dataclass(frozen=True, slots=True)
class _ClockRun:
    """Packets [first, stop) of a stream on one clock; `turn_s` undoes the wraps since the start of the piece."""

    stream: int
    first: int
    stop: int
    piece: int
    turn_s: float


@dataclass(frozen=True, slots=True)
class Shift:
    """The correction of each packet of a stream to the continuous clock; 0 where its time is right.

    times_s is added to decode times and shown_s to presentation times; seconds [n]. pieces: int [n], ascending, the
    recording that each packet belongs to.
    """

    times_s: Seconds
    shown_s: Seconds
    pieces: NDArray[np.int64]


def continuous(tracks: Mapping[int, Track], gap_s: float, wrap_s: float = np.inf) -> dict[int, Shift]:
    """Return by stream the corrections that put all packets on one clock, that of the first piece.

    A step forward of more than `gap_s` seconds in all streams is a jump (infinite: never). `wrap_s` is the period of
    the clock, seconds.
    """
    mended = {stream: _mended(track, gap_s) for stream, track in tracks.items() if len(track.order)}
    shifts = {
        stream: Shift(
            track.times_s - tracks[stream].times_s,
            track.begins_s - tracks[stream].begins_s,
            np.zeros(len(track.order), np.int64),
        )
        for stream, track in mended.items()
    }
    for run, shift_s in _joined(mended, list(_runs(mended, gap_s, wrap_s))):
        shift, packets = shifts[run.stream], slice(run.first, run.stop)
        shift.times_s[packets] += shift_s
        shift.shown_s[packets] += shift_s
        shift.pieces[packets] = run.piece
    return shifts


def unmoved(tracks: Mapping[int, Track]) -> dict[int, Shift]:
    """Return by stream corrections of 0."""
    return {
        stream: Shift(np.zeros(count), np.zeros(count), np.zeros(count, np.int64))
        for stream, track in tracks.items()
        for count in [len(track.order)]
    }


def _mended(track: Track, gap_s: float) -> Track:
    """Interpolate outliers, and give packets presented absurdly long after decoding the usual delay."""
    times, begins = track.times_s.copy(), track.begins_s.copy()
    usual_s = float(np.median(begins - times))
    for jump in _jumps(track, gap_s):
        if back := _return(times, jump, track.step_s):
            times[jump:back] = np.linspace(times[jump - 1], times[back], back - jump + 2)[1:-1]
        else:
            _draw_over(times, begins, jump, usual_s)
    wrong = absurd(times, begins, track.step_s) | (times != track.times_s) | (begins != track.begins_s)
    if not wrong.any():
        return track
    begins = np.where(wrong, times + usual_s, begins)
    return replace(track, times_s=times, begins_s=begins, ends_s=begins + (track.ends_s - track.begins_s))


def absurd(times_s: Seconds, begins_s: Seconds, step_s: float) -> NDArray[np.bool_]:
    """Return which packets are presented too long after decoding: later than packets much further on are decoded.

    This leaves out packets before a long pause, where decoding waits for the display order and then catches up.
    `step_s` is the typical time from packet to packet.
    """
    later = np.minimum(np.arange(len(times_s)) + _CAUGHT_UP, len(times_s) - 1)
    limit_s = max(ABSURD_S, _STEPS * step_s)
    ahead = (begins_s - times_s[later] > limit_s) & (later - np.arange(len(times_s)) >= _CAUGHT_UP)
    return ahead | (times_s - begins_s > limit_s)


def _return(times: Seconds, jump: int, step_s: float) -> int | None:
    """Return the packet at which a clock that jumped is back on its course; None if that is not soon."""
    for back in range(jump + 1, min(jump + _OUTLIERS, len(times) - 1) + 1):
        if abs(times[back] - times[jump - 1] - (back - jump + 1) * step_s) <= _REORDERED * step_s:
            return back
    return None


def _draw_over(times: Seconds, begins: Seconds, jump: int, usual_s: float) -> None:
    """Correct packets before a jump that are shown after it: demuxers mix up times where two recordings meet.

    Those right before the jump belong after it and have a made-up decode time. Others have a wrong display time.
    """
    adjoining = True
    for place in range(jump - 1, max(0, jump - _OUTLIERS) - 1, -1):
        if abs(begins[place] - times[jump]) > min(_TOGETHER_S, abs(begins[place] - times[place])):
            adjoining = False
        elif adjoining:
            times[place] = begins[place] - usual_s
        else:
            begins[place] = times[place] + usual_s


def _runs(tracks: Mapping[int, Track], gap_s: float, wrap_s: float) -> Iterator[_ClockRun]:
    jumps = {stream: [0, *_jumps(track, gap_s)] for stream, track in tracks.items()}
    events = sorted((tracks[stream].order[place], stream, place) for stream in tracks for place in jumps[stream])
    now: dict[int, _ClockRun] = {}
    pieces = 0
    for order, stream, place in events:
        following = [jump for jump in jumps[stream] if jump > place]
        stop = following[0] if following else len(tracks[stream].order)
        run = _ClockRun(stream, place, stop, pieces, 0.0)
        run = (
            _wrapped(run, now, tracks, gap_s, wrap_s)
            or _beside(run, now, tracks, int(order), gap_s=gap_s, wrap_s=wrap_s)
            or run
        )
        pieces = max(pieces, run.piece + 1)
        now[stream] = run
        yield run


def _wrapped(
    run: _ClockRun, now: Mapping[int, _ClockRun], tracks: Mapping[int, Track], gap_s: float, wrap_s: float
) -> _ClockRun | None:
    """Return the run as a continuation of the stream's previous one if their clocks differ by whole turns."""
    if (last := now.get(run.stream)) is None:
        return None
    track = tracks[run.stream]
    step_s = float(track.times_s[run.first] - track.times_s[run.first - 1])
    turn_s = _turn_s(step_s, wrap_s)
    if not turn_s or not -_BACK_S <= step_s + turn_s <= _limit_s(track, gap_s):
        return None
    return replace(run, piece=last.piece, turn_s=last.turn_s + turn_s)


def _beside(
    run: _ClockRun,
    now: Mapping[int, _ClockRun],
    tracks: Mapping[int, Track],
    order: int,
    *,
    gap_s: float,
    wrap_s: float,
) -> _ClockRun | None:
    """Return the run as part of the piece in which another stream has the same time; never of an earlier piece."""
    last, time_s = now.get(run.stream), tracks[run.stream].times_s[run.first]
    before_s = tracks[run.stream].times_s[run.first - 1] + last.turn_s if last else -np.inf
    found: list[tuple[float, _ClockRun]] = []
    for stream, other in now.items():
        if stream == run.stream:
            continue
        place = max(0, int(np.searchsorted(tracks[stream].order, order)) - 1)
        there_s = tracks[stream].times_s[place] + other.turn_s
        turn_s = _turn_s(time_s - there_s, wrap_s)
        apart_s = abs(time_s + turn_s - there_s)
        waited = last is not None and other.piece == last.piece and time_s + turn_s > before_s
        if apart_s <= min(gap_s, _NEAR_S) and (last is None or other.piece > last.piece or waited):
            found.append((apart_s, replace(run, piece=other.piece, turn_s=turn_s)))
    return min(found, key=lambda pair: pair[0])[1] if found else None


def _joined(tracks: Mapping[int, Track], runs: list[_ClockRun]) -> list[tuple[_ClockRun, float]]:
    """Return each run with the shift of its times, seconds."""
    done: list[tuple[_ClockRun, float]] = []
    for piece in range(max((run.piece for run in runs), default=-1) + 1):
        members = [run for run in runs if run.piece == piece]
        offset_s = _offset_s(tracks, members, done) if piece else 0.0
        done += [(run, offset_s + run.turn_s) for run in members]
    return done


def _offset_s(tracks: Mapping[int, Track], members: list[_ClockRun], done: list[tuple[_ClockRun, float]]) -> float:
    """Return the shift with which a piece follows the previous ones, seconds."""
    ends: dict[int, float] = {}
    for run, shift_s in done:
        end_s = float(tracks[run.stream].ends_s[run.first : run.stop].max()) + shift_s
        ends[run.stream] = max(ends.get(run.stream, end_s), end_s)
    begins = {
        run.stream: float(tracks[run.stream].begins_s[run.first : run.stop].min()) + run.turn_s
        for run in reversed(members)
    }
    late = [ends[stream] - begin_s for stream, begin_s in begins.items() if stream in ends]
    if late:
        return max(late)
    # A stream that starts later with its own clock starts where the others are at that position in the file.
    order = tracks[members[0].stream].order[members[0].first]
    return max(_time_at(tracks[run.stream], run, int(order)) + shift_s for run, shift_s in done) - min(begins.values())


def _time_at(track: Track, run: _ClockRun, order: int) -> float:
    place = int(np.searchsorted(track.order[run.first : run.stop], order)) + run.first - 1
    return float(track.begins_s[max(run.first, place)]) if track.order[run.first] < order else -np.inf


def _jumps(track: Track, gap_s: float) -> list[int]:
    """Return the indices of the packets at which the clock jumps."""
    steps = np.diff(track.times_s)
    # A picture with a declared duration of a minute is not a gap.
    steps = np.where(steps > 0, np.maximum(0, steps - (track.ends_s - track.begins_s)[:-1]), steps)
    return [int(place) + 1 for place in np.flatnonzero((steps < -_BACK_S) | (steps > _limit_s(track, gap_s)))]


def _limit_s(track: Track, gap_s: float) -> float:
    return max(gap_s, _STEPS * track.step_s)


def _turn_s(step_s: float, wrap_s: float) -> float:
    """Return the whole turns of the clock that undo a step, seconds."""
    return -round(step_s / wrap_s) * wrap_s if np.isfinite(wrap_s) else 0.0

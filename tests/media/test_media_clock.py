"""Continuous times of packets whose clock wraps, restarts or jumps."""

from dataclasses import dataclass
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rayreel.media.clock import Track, continuous

WRAP_S = 2**33 / 90_000
GAP_S = 3.0
PICTURE_S, BLOCK_S = 0.04, 0.024  # of video, of sound
VIDEO, AUDIO = 0, 1


@dataclass(frozen=True)
class Part:
    """A recording: its length, the time of its clock at its start, and the delay of its sound."""

    length_s: float
    clock_s: float
    sound_later_s: float = 0.0


def recorded(
    parts: list[Part], sound: bool = True, ahead_s: float = 0.3
) -> tuple[dict[int, Track], dict[int, np.ndarray]]:
    """Return the tracks of a joined file and the true time of each packet; pictures are `ahead_s` ahead in the file."""
    packets: list[tuple[float, int, float, float]] = []  # position in the file, stream, clock, true time
    begin_s = 0.0
    for part in parts:
        for stream, step_s, later_s in ((VIDEO, PICTURE_S, 0.0), (AUDIO, BLOCK_S, part.sound_later_s)):
            for time_s in np.arange(later_s, part.length_s - 1e-9, step_s) if stream == VIDEO or sound else ():
                place = begin_s + min(part.length_s - 1e-3, max(0.0, time_s - ahead_s * (stream == VIDEO)))
                packets.append((place, stream, (part.clock_s + time_s) % WRAP_S, begin_s + time_s))
        begin_s += part.length_s
    packets.sort(key=lambda packet: packet[:2])
    tracks, truth = {}, {}
    for stream, step_s in ((VIDEO, PICTURE_S), (AUDIO, BLOCK_S)):
        mine = [(order, *packet[2:]) for order, packet in enumerate(packets) if packet[1] == stream]
        if mine:
            order, clock, true = (np.array(column) for column in zip(*mine, strict=True))
            tracks[stream] = Track(order, clock, clock, clock + step_s)
            truth[stream] = true
    return tracks, truth


def placed(tracks: dict[int, Track]) -> dict[int, np.ndarray]:
    """Return times on the continuous clock since the first picture."""
    shifts = continuous(tracks, GAP_S, WRAP_S)
    times = {stream: track.begins_s + shifts[stream].shown_s for stream, track in tracks.items()}
    return {stream: shown - times[VIDEO][0] for stream, shown in times.items()}


def far_apart(parts: list[Part]) -> bool:
    """Whether no clock starts at a time that would continue the previous one."""
    return all(
        not -1 < (later.clock_s - earlier.clock_s - earlier.length_s + WRAP_S / 2) % WRAP_S - WRAP_S / 2 < 2 * GAP_S
        for earlier, later in pairwise(parts)
    )


clocks = st.one_of(st.sampled_from([0.0, 1.4, 100.0, 36_000.0, WRAP_S - 2]), st.floats(0, WRAP_S - 1))
parts = st.lists(st.builds(Part, st.floats(2, 8), clocks, st.floats(0, 0.5)), min_size=1, max_size=5).filter(far_apart)


@settings(max_examples=80, deadline=None)
@given(parts=parts, sound=st.booleans())
def test_joined_recordings_follow_one_another_with_any_clocks(parts: list[Part], sound: bool) -> None:
    tracks, truth = recorded(parts, sound)
    for stream, times in placed(tracks).items():
        # A part starts at the end of the longest stream of the previous one.
        assert np.abs(times - truth[stream]).max() < 0.06 * len(parts) + 0.001
        assert (np.diff(times) > -0.01).all()


@settings(max_examples=40, deadline=None)
@given(parts=parts)
def test_sound_and_picture_of_each_recording_stay_together(parts: list[Part]) -> None:
    tracks, truth = recorded(parts)
    off = {stream: times - truth[stream] for stream, times in placed(tracks).items()}
    begins = np.cumsum([0, *(part.length_s for part in parts)])
    for begin_s, end_s in pairwise(begins):
        inside = [off[stream][(truth[stream] >= begin_s - 1e-6) & (truth[stream] < end_s - 1e-6)] for stream in off]
        assert np.ptp(np.concatenate(inside)) < 1e-6


@pytest.mark.parametrize("clock_s", [0.0, 36_000.0, WRAP_S - 10])
def test_a_continuous_clock_is_unchanged(clock_s: float) -> None:
    tracks, _ = recorded([Part(8.0, clock_s)])
    assert all(
        not shift.shown_s.any() and not shift.times_s.any() for shift in continuous(tracks, GAP_S, WRAP_S).values()
    )


@pytest.mark.parametrize("stream", [VIDEO, AUDIO])
def test_a_jump_or_a_wrap_of_a_single_stream_is_undone(stream: int) -> None:
    for later_s in (1000.0, -WRAP_S, -2.0):
        tracks, truth = recorded([Part(8.0, 50.0)])
        clock = tracks[stream].times_s + later_s * (tracks[stream].times_s > 54)
        tracks[stream] = Track(tracks[stream].order, clock, clock, clock + PICTURE_S)
        times = placed(tracks)
        assert all(np.abs(times[s] - truth[s]).max() < 0.05 for s in truth)


@pytest.mark.parametrize("off_s", [9000.0, -30.0])
def test_a_single_wrong_time_affects_no_other_packet(off_s: float) -> None:
    tracks, truth = recorded([Part(8.0, 10.0)])
    clock = tracks[VIDEO].times_s.copy()
    clock[70] += off_s
    times = placed(tracks | {VIDEO: Track(tracks[VIDEO].order, clock, clock, clock + PICTURE_S)})
    for stream, shown in times.items():
        np.testing.assert_allclose(shown, truth[stream], atol=0.02)


def test_a_presentation_time_hours_after_decoding_is_corrected() -> None:
    tracks, truth = recorded([Part(8.0, 10.0)])
    video = tracks[VIDEO]
    begins = video.begins_s.copy()
    begins[70] += 9000.0
    times = placed(tracks | {VIDEO: Track(video.order, video.times_s, begins, begins + PICTURE_S)})
    np.testing.assert_allclose(times[VIDEO], truth[VIDEO], atol=0.01)


def test_pictures_before_a_long_pause_are_not_absurd() -> None:
    shown = np.arange(100) * 0.04 + 60.0 * (np.arange(100) >= 50)
    decoded = np.concatenate([[-0.08, -0.04], shown[:-2]])  # by the order of display, two pictures before
    track = Track(np.arange(100), decoded, shown, shown + 0.04)
    assert not continuous({VIDEO: track}, np.inf)[VIDEO].shown_s.any()


def test_long_picture_durations_with_sound_are_not_a_jump() -> None:
    tracks, _ = recorded([Part(60.0, 5.0)])
    video = tracks[VIDEO]
    few = np.arange(0, len(video.order), 500)  # every 20 s
    kept = Track(video.order[few], video.times_s[few], video.begins_s[few], video.begins_s[few] + PICTURE_S)
    assert not continuous(tracks | {VIDEO: kept}, GAP_S)[VIDEO].shown_s.any()


def test_one_picture_a_minute_is_not_a_jump() -> None:
    clock = np.arange(20, dtype=np.float64) * 60
    assert not continuous({VIDEO: Track(np.arange(20), clock, clock, clock)}, GAP_S)[VIDEO].shown_s.any()


def test_with_an_infinite_gap_a_long_pause_is_kept() -> None:
    clock = np.arange(200) * 0.04 + 300 * (np.arange(200) > 100)
    track = Track(np.arange(200), clock, clock, clock)
    assert not continuous({VIDEO: track}, np.inf)[VIDEO].shown_s.any()
    assert np.ptp(clock + continuous({VIDEO: track}, GAP_S)[VIDEO].shown_s) < 8.1

"""The frames of each mode, identified by the numbers in them, and the decoded packets."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from films import numbers_of
from rayreel.deadline import Deadline
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.decoder import needed_for
from rayreel.media.frames import stretches
from rayreel.media.keyframes import read_timeline
from rayreel.media.packets import film_in

FilmMaker = Callable[..., Path]
SIZE = 64
UNIFORM = [6, 18, 31, 43]  # of 50 frames


def clip(path: Path, **sampling: object) -> Clip:
    taken = decode_file(path, SamplingConfig.model_validate({"frames": 4, **sampling}), SIZE, Limits())
    assert isinstance(taken, Clip), taken
    return taken


def numbers(path: Path, **sampling: object) -> list[int]:
    return numbers_of(clip(path, **sampling).frames)


def packets_decoded(path: Path, **sampling: object) -> list[int]:
    """Return how often the plan sends each packet to the decoder."""
    with av.open(path) as container:
        film = film_in(container, container.streams.video[0], Deadline(60))
        timeline = read_timeline(film)
        assert timeline is not None
        sent: list[int] = []
        for stretch in stretches(film, timeline, SamplingConfig.model_validate({"frames": 4, **sampling})):
            wanted = {tick for window in stretch.windows for tick in window}
            runs = needed_for(stretch.samples, wanted)
            sent += [stretch.samples[place].pts for first, last in runs for place in range(first, last + 1)]
    return [sent.count(pts) for pts in set(sent)]


@pytest.mark.parametrize("bframes", [0, 2])
@pytest.mark.parametrize("keyframe_every", [1, 10, 25, 1000])
def test_exact_takes_the_frames_shown_at_uniform_times(film: FilmMaker, keyframe_every: int, bframes: int) -> None:
    path = film(frames=50, keyframe_every=keyframe_every, bframes=bframes)
    assert numbers(path, mode="exact") == UNIFORM


@pytest.mark.parametrize("name", ["film.mkv", "film.mov", "film.avi", "film.ts", "film.flv"])
@pytest.mark.parametrize("mode", ["exact", "keyframe"])
def test_every_container_gives_the_same_frames_despite_reordering(film: FilmMaker, name: str, mode: str) -> None:
    path = film(name, frames=50, keyframe_every=10, bframes=2, tone_hz=None)
    assert numbers(path, mode=mode) == (UNIFORM if mode == "exact" else [10, 20, 30, 40])


@pytest.mark.parametrize("codec", ["mpeg4", "libx265", "libvpx-vp9", "mpeg2video"])
def test_every_codec_gives_the_same_frames(film: FilmMaker, codec: str) -> None:
    path = film("film.mkv", frames=50, keyframe_every=10, codec=codec, bframes=2 * ("vp9" not in codec), tone_hz=None)
    np.testing.assert_allclose(numbers(path, mode="exact"), UNIFORM, atol=0 if "265" not in codec else 1)  # lossy


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "mpeg2video"])
def test_skipping_unreferenced_pictures_changes_no_pixel(film: FilmMaker, codec: str) -> None:
    path = film(frames=50, keyframe_every=25, codec=codec, bframes=2, size=(SIZE, SIZE), tone_hz=None)
    with av.open(path) as container:
        shown = [frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)]
    np.testing.assert_array_equal(
        clip(path, mode="exact", frames=7).frames, [shown[n] for n in (3, 10, 17, 25, 32, 39, 46)]
    )


def test_open_groups_of_pictures_are_correct_and_decoded_once(film: FilmMaker) -> None:
    path = film(frames=50, keyframe_every=10, bframes=3, open_gop=True)
    uniform = [int((i + 0.5) * 50 / 16) for i in range(16)]
    assert numbers(path, mode="exact", frames=16) == uniform
    for frames in (4, 8, 16):
        again = [times for times in packets_decoded(path, mode="exact", frames=frames) if times > 1]
        # A keyframe and the few frames shown before it belong to both groups.
        assert len(again) <= 4 * (frames // 4) and max(again, default=1) == (2 if again else 1)


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
@pytest.mark.parametrize("mode", ["exact", "keyframe", "auto"])
def test_no_packet_of_closed_groups_is_decoded_twice(film: FilmMaker, name: str, mode: str) -> None:
    path = film(name, frames=50, keyframe_every=10, bframes=2)
    assert max(packets_decoded(path, mode=mode, frames=16)) == 1


@pytest.mark.parametrize("name", ["film.mp4", "film.ts", "film.mkv"])
def test_times_count_from_the_first_frame_shown(film: FilmMaker, name: str) -> None:
    assert numbers(film(name, frames=50, bframes=2, start_s=3.0, tone_hz=None), mode="exact") == UNIFORM


@pytest.mark.parametrize("mode", ["exact", "auto", "keyframe"])
def test_frames_hidden_by_an_edit_list_are_never_taken(film: FilmMaker, mode: str) -> None:
    path = film(frames=50, keyframe_every=25, bframes=2, start_s=-0.5, tone_hz=None)
    taken = numbers(path, mode=mode)
    assert min(taken) >= 12
    if mode == "exact":
        assert taken == [16, 26, 35, 45]


def test_frames_of_variable_duration_are_taken_by_time(film: FilmMaker) -> None:
    times_s = [0.04 * n + 2 * (n > 25) for n in range(50)]  # frame 25 is shown for two seconds, half of the film
    path = film(frames=50, keyframe_every=10, bframes=2, times_s=times_s, tone_hz=None)
    assert numbers(path, mode="exact") == [12, 25, 37]


def test_a_fragmented_film_without_a_complete_index_is_sampled_correctly(film: FilmMaker) -> None:
    path = film(frames=50, keyframe_every=10, bframes=2, movflags="frag_keyframe+empty_moov")
    assert numbers(path, mode="exact") == UNIFORM
    assert numbers(path, mode="keyframe") == [10, 20, 30, 40]


def test_an_index_with_wrong_times_only_costs_time(film: FilmMaker) -> None:
    path = film("film.mkv", frames=50, keyframe_every=10, tone_hz=None)
    data = bytearray(path.read_bytes())
    at, moved = data.index(b"\x1c\x53\xbb\x6b"), 0  # the cues
    while (at := data.find(b"\xb3\x82", at + 2)) >= 0:  # each with its time in milliseconds
        data[at + 2 : at + 4] = (int.from_bytes(data[at + 2 : at + 4], "big") // 2).to_bytes(2, "big")
        moved += 1
    path.write_bytes(data)
    assert moved >= 3
    assert numbers(path, mode="exact") == UNIFORM


def test_keyframe_takes_only_keyframes_and_each_at_most_once(film: FilmMaker) -> None:
    assert numbers(film("a.mp4", frames=50, keyframe_every=25), mode="keyframe", frames=16) == [0, 25]
    path = film("b.mp4", frames=50, keyframe_every=10)
    assert numbers(path, mode="keyframe") == [10, 20, 30, 40]
    assert len(packets_decoded(path, mode="keyframe")) == 4


def test_auto_takes_keyframes_if_they_are_dense(film: FilmMaker) -> None:
    path = film(frames=50, keyframe_every=10, bframes=2)
    assert numbers(path, mode="auto") == [10, 20, 30, 40]
    assert len(packets_decoded(path, mode="auto")) == 4


def test_auto_decodes_up_to_targets_if_keyframes_are_sparse(film: FilmMaker) -> None:
    taken = numbers(film(frames=50, keyframe_every=1000), mode="auto")
    assert taken[:3] == UNIFORM[:3] and 34 <= taken[3] <= 43


def test_auto_is_within_three_quarters_of_a_step_of_every_target(film: FilmMaker) -> None:
    for every in (7, 12, 19, 33):
        taken = numbers(film(f"{every}.mp4", frames=100, keyframe_every=every, bframes=2), mode="auto", frames=5)
        # Unreferenced pictures are skipped, up to two more.
        assert max(min(abs(number - target) for number in taken) for target in range(10, 100, 20)) <= 15 + 2


@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts", "film.avi"])
def test_a_window_has_consecutive_frames_from_the_target_on(film: FilmMaker, name: str) -> None:
    path = film(name, frames=50, keyframe_every=10, bframes=2, tone_hz=None)
    assert numbers(path, window=4) == [number + i for number in UNIFORM for i in range(4)]


def test_windows_of_open_groups_and_overlapping_windows_are_complete(film: FilmMaker) -> None:
    path = film(frames=50, keyframe_every=10, bframes=3, open_gop=True)
    begins = [min(int((i + 0.5) * 50 / 16), 46) for i in range(16)]
    assert numbers(path, frames=16, window=4) == [number + i for number in begins for i in range(4)]


def test_a_window_beyond_the_end_is_moved_back(film: FilmMaker) -> None:
    assert numbers(film(frames=20), frames=2, window=10) == [*range(5, 15), *range(10, 20)]


def test_a_film_shorter_than_a_window_repeats_its_last_frame(film: FilmMaker) -> None:
    assert numbers(film(frames=3), frames=4, window=6) == [0, 1, 2, 2, 2, 2]

"""The sampled frames have the expected numbers, in every mode, codec and orientation."""

from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest
from numpy.typing import NDArray

from numbered import FPS, SIDE, colour_error, read_number, take, write_numbered
from rayreel.deadline import Deadline
from rayreel.media.config import SamplingConfig
from rayreel.media.decoder import Decoder
from rayreel.media.frames import Squares, stretches
from rayreel.media.keyframes import read_timeline
from rayreel.media.packets import film_in

FRAMES = 60
REQUESTED = 8
KEYFRAMES = range(0, FRAMES, 12)
TARGETS = [int((i + 0.5) * FRAMES / REQUESTED) for i in range(REQUESTED)]  # frames on screen at uniform times
ONE = 1 << 16
KINDS = {
    "h264": ("libx264", 0, {"crf": "8", "preset": "veryfast", "x264-params": "scenecut=0"}),
    "h264_b_frames": ("libx264", 3, {"crf": "8", "preset": "veryfast", "x264-params": "scenecut=0:b-pyramid=normal"}),
    "h264_open": ("libx264", 3, {"crf": "8", "preset": "veryfast", "x264-params": "scenecut=0:open-gop=1"}),
    "hevc_closed": ("libx265", 3, {"crf": "10", "preset": "ultrafast", "x265-params": "log-level=none:open-gop=0"}),
    "hevc_open": ("libx265", 4, {"crf": "10", "preset": "ultrafast", "x265-params": "log-level=none:open-gop=1"}),
    "vp9": ("libvpx-vp9", 0, {"crf": "10", "b": "0", "cpu-used": "5", "lag-in-frames": "12", "auto-alt-ref": "1"}),
    "av1": ("libsvtav1", 0, {"crf": "12", "preset": "12"}),
}
# The stored transformation and the matrix a b c d that shows it upright, by the effect of the matrix.
Turned = Callable[[NDArray[np.float64]], NDArray[np.float64]]
TURNS: dict[str, tuple[Turned, tuple[float, float, float, float]]] = {
    "upright": (lambda p: p, (1, 0, 0, 1)),
    "clockwise": (np.rot90, (0, 1, -1, 0)),
    "half": (lambda p: p[::-1, ::-1], (-1, 0, 0, -1)),
    "anticlockwise": (lambda p: np.rot90(p, -1), (0, -1, 1, 0)),
    "mirrored": (lambda p: p[:, ::-1], (-1, 0, 0, 1)),
    "flipped": (lambda p: p[::-1], (1, 0, 0, -1)),
    "transposed": (lambda p: p.swapaxes(0, 1), (0, 1, 1, 0)),
    "transversed": (lambda p: p[::-1, ::-1].swapaxes(0, 1), (0, -1, -1, 0)),
}


@pytest.fixture(scope="module")
def films(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A function that returns the film of a kind in a container, encoded once."""
    made: dict[tuple[str, str], Path] = {}

    def film(kind: str, suffix: str) -> Path:
        codec, bframes, options = KINDS[kind]
        if codec not in av.codecs_available:
            pytest.skip(f"this build of PyAV has no {codec}")
        if (kind, suffix) not in made:
            path = tmp_path_factory.mktemp("numbered") / f"{kind}.{suffix}"
            made[kind, suffix] = write_numbered(
                path, codec, frames=FRAMES, keyframe_every=12, bframes=bframes, options=options
            )
        return made[kind, suffix]

    return film


def numbers(path: Path, mode: str, **sampling: object) -> list[int]:
    return [read_number(square) for square in take(path, mode=mode, **{"frames": REQUESTED, **sampling}).frames]


def timed(path: Path, mode: str) -> list[tuple[float, int]]:
    """Return the declared time of each picture, and the number in it."""
    sampling = SamplingConfig.model_validate({"mode": mode, "frames": REQUESTED})
    with av.open(path) as container:
        film = film_in(container, container.streams.video[0], Deadline(60))
        timeline = read_timeline(film)
        assert timeline is not None
        decoder, squares = Decoder(film, exact=mode != "auto"), Squares(SIDE // 2, None)
        found = []
        for stretch in stretches(film, timeline, sampling):
            wanted = sorted({tick for window in stretch.windows for tick in window})
            for tick, frame in decoder.pictures(stretch.start, stretch.samples, wanted):
                found.append((timeline.seconds(tick), read_number(squares.of(frame))))
        return found


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_exact_takes_the_frame_shown_at_each_time(films: Callable[[str, str], Path], kind: str, suffix: str) -> None:
    assert numbers(films(kind, suffix), "exact") == TARGETS


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_keyframe_takes_the_keyframes_nearest_to_the_times(
    films: Callable[[str, str], Path], kind: str, suffix: str
) -> None:
    times = [(i + 0.5) * FRAMES / REQUESTED for i in range(REQUESTED)]
    assert numbers(films(kind, suffix), "keyframe") == sorted(
        {min(KEYFRAMES, key=lambda keyframe: abs(keyframe - time)) for time in times}
    )


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_auto_takes_a_frame_within_three_quarters_of_a_step_of_each_time(
    films: Callable[[str, str], Path], kind: str, suffix: str
) -> None:
    found = numbers(films(kind, suffix), "auto")
    assert found == sorted(set(found))
    # Unreferenced pictures may be skipped, up to three.
    reach = 0.75 * FRAMES / REQUESTED + 3
    assert max(min(abs(number - target) for number in found) for target in TARGETS) <= reach


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_fixed_interval_takes_the_frame_shown_at_each_multiple(
    films: Callable[[str, str], Path], kind: str, suffix: str
) -> None:
    path = films(kind, suffix)
    assert numbers(path, "exact", frame_interval_s=0.3) == [0, 7, 15, 22, 30, 37, 45, 52]
    assert numbers(path, "exact", frame_interval_s=0.3, frames=3) == [0, 7, 15]
    assert numbers(path, "keyframe", frame_interval_s=0.5) == list(KEYFRAMES)
    assert numbers(path, "keyframe", frame_interval_s=0.5, frames=3) == [0, 12, 24]
    every_second = numbers(path, "auto", frame_interval_s=1.0)
    assert every_second[0] == 0 and len(every_second) == 3
    assert max(abs(number - 25 * second) for second, number in enumerate(every_second)) <= 0.75 * 25 + 3


@pytest.mark.parametrize("mode", ["exact", "keyframe", "auto"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_time_of_each_frame_is_that_of_its_number(films: Callable[[str, str], Path], kind: str, mode: str) -> None:
    found = timed(films(kind, "mp4"), mode)
    assert found
    assert [round(time_s * FPS) for time_s, _ in found] == [number for _, number in found]


@pytest.mark.parametrize("kind", KINDS)
def test_the_colours_are_as_drawn(films: Callable[[str, str], Path], kind: str) -> None:
    assert max(map(colour_error, take(films(kind, "mp4"), mode="exact").frames)) < 8


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize("mode", ["exact", "keyframe", "auto"])
@pytest.mark.parametrize("name", TURNS)
def test_a_turned_or_mirrored_film_is_shown_upright(tmp_path: Path, name: str, mode: str, suffix: str) -> None:
    stored, (a, b, c, d) = TURNS[name]
    matrix = [int(part * ONE) for part in (a, b, 0, c, d, 0)] + [0, 0, 1 << 30]
    path = write_numbered(tmp_path / f"film.{suffix}", frames=24, turn=stored, display_matrix=matrix)
    squares = take(path, mode=mode, frames=4).frames
    if mode == "exact":
        assert [read_number(square) for square in squares] == [3, 9, 15, 21]
    assert all(read_number(square) < 24 and colour_error(square) < 8 for square in squares)


@pytest.mark.parametrize("aspect", [(1, 2), (4, 3), (3, 1)])
def test_pixels_are_stretched_before_the_picture_is_turned(tmp_path: Path, aspect: tuple[int, int]) -> None:
    wide, high = aspect

    def squeezed(picture: NDArray[np.float64]) -> NDArray[np.float64]:
        side_on = np.rot90(picture)  # shown by a quarter of a turn clockwise
        columns = (np.arange(SIDE * high // wide // 2 * 2) + 0.5) * SIDE / (SIDE * high // wide // 2 * 2)
        return side_on[:, columns.astype(int)]

    matrix = [0, ONE, 0, -ONE, 0, 0, 0, 0, 1 << 30]
    path = write_numbered(
        tmp_path / "film.mp4", frames=12, turn=squeezed, display_matrix=matrix, pixel_aspect=aspect, side=SIDE
    )
    squares = take(path, mode="exact", frames=2).frames
    assert [read_number(square) for square in squares] == [3, 9]

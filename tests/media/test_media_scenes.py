"""Detection of scene changes by packet sizes, and `auto` takes a frame of each scene."""

import random
from itertools import pairwise
from pathlib import Path

import av
import numpy as np
import pytest

from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.frames import changes
from rayreel.media.packets import Sample

FPS, SIZE, TARGETS = 25, 64, 8
SETTINGS = {
    "libx264": {"preset": "veryfast", "crf": "23", "x264-params": "scenecut=0"},
    "mpeg4": {"sc_threshold": "1000000000"},
}


def write_scenes(
    path: Path, cuts_s: list[float], length_s: float, keyframe_every: int, codec: str, bframes: int
) -> None:
    """Write a film of moving scenes, each with the colour of its number; keyframes are independent of them."""
    chance = np.random.default_rng(7)
    with av.open(path, "w") as out:
        video = out.add_stream(codec, rate=FPS, options=SETTINGS[codec])
        assert isinstance(video, av.VideoStream)
        video.width, video.height, video.pix_fmt = 160, 128, "yuv420p"
        video.codec_context.gop_size, video.codec_context.max_b_frames = keyframe_every, bframes
        grains = [np.kron(chance.integers(-20, 20, (8, 10)), np.ones((16, 16))) for _ in range(len(cuts_s) + 1)]
        for number in range(round(length_s * FPS)):
            scene = sum(number / FPS >= cut_s - 1e-9 for cut_s in cuts_s)
            level = 40 + 22 * scene + np.roll(grains[scene], abs(number % 72 - 36), axis=1)
            picture = np.repeat(level[..., None], 3, axis=2).clip(0, 255).astype(np.uint8)
            out.mux(video.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        out.mux(video.encode(None))


def layout(chance: random.Random, step_s: float, length_s: float) -> list[float]:
    """Return times of cuts more than a step of targets apart, some at keyframes, on full seconds."""
    cuts_s: list[float] = []
    at_s = 0.0
    while (at_s := at_s + chance.uniform(1.1, 2.6) * step_s) < length_s - 1.1 * step_s:
        if chance.random() < 0.4 and round(at_s) - (cuts_s[-1] if cuts_s else 0) > 1.1 * step_s:
            at_s = float(round(at_s))
        cuts_s.append(round(at_s * FPS) / FPS)
    return cuts_s


@pytest.mark.parametrize("codec", ["libx264", "mpeg4"])
@pytest.mark.parametrize("seed", range(10))
def test_auto_shows_each_scene_longer_than_the_time_between_targets(tmp_path: Path, codec: str, seed: int) -> None:
    chance = random.Random(seed)
    length_s = chance.choice([8.0, 12.0, 16.0])
    path = tmp_path / chance.choice(["a.mp4", "a.mkv", "a.ts"])
    cuts_s = layout(chance, length_s / TARGETS, length_s)
    write_scenes(path, cuts_s, length_s, chance.choice([50, 100, 250]), codec, chance.choice([0, 2]))
    clip = decode_file(path, SamplingConfig(mode="auto", frames=TARGETS), SIZE, Limits())
    assert isinstance(clip, Clip)
    shown = {round((float(frame.mean()) - 40) / 22) for frame in clip.frames}
    assert set(range(len(cuts_s) + 1)) <= shown, list(pairwise([0, *cuts_s, length_s]))


def packets(*sizes: int) -> list[Sample]:
    return [Sample(n, n + 1, n, keyframe=n == 0, shown=True, size=size) for n, size in enumerate(sizes)]


def test_a_packet_much_larger_than_those_before_it_is_a_change() -> None:
    samples = packets(1000, 50, 60, 50, 60, 400, 60)
    assert changes(samples, after=1, until=6) == [5]
    assert changes(samples, after=5, until=6) == changes(samples, after=1, until=4) == []


def test_packets_of_equal_size_and_tiny_ones_are_no_change() -> None:
    assert changes(packets(1000, *([300, 500] * 10)), after=0, until=99) == []
    assert changes(packets(100_000, 1, 1, 1, 1, 90, 1), after=0, until=99) == []

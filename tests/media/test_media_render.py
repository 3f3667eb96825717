from dataclasses import replace
from pathlib import Path

import av
import numpy as np
import pytest

from rayreel.catalog.sample.clip import FRAME_RATE, SampleClip
from rayreel.catalog.sample.config import SampleConfig
from rayreel.catalog.sample.plan import plan_sample
from rayreel.media.render.draw import draw
from rayreel.media.render.encode import SAMPLE_RATE, render, synthesise

SHORT = SampleConfig(clips=36, categories=12, min_seconds=1.0, max_seconds=1.5, easy=True)
CLIPS = plan_sample(SHORT)


@pytest.fixture(scope="module")
def film(tmp_path_factory: pytest.TempPathFactory) -> tuple[SampleClip, Path]:
    """A rendered clip of default length, in new folders."""
    clip = plan_sample(SampleConfig(clips=1, easy=True))[0]
    path = tmp_path_factory.mktemp("sample") / "not" / "there" / "yet.mp4"
    render(clip, path)
    return clip, path


def colours(clip: SampleClip) -> np.ndarray:
    """Return the colour histogram of the middle frame with unit norm (Hellinger)."""
    pictures = list(draw(clip))
    pixels = pictures[len(pictures) // 2].reshape(-1, 3) // 64
    counts = np.bincount(pixels @ np.array([16, 4, 1]), minlength=64)
    return np.asarray(np.sqrt(counts / counts.sum()))


def timbre(clip: SampleClip) -> np.ndarray:
    """Return mean and deviation over time of log energies in 24 bands from 60 Hz."""
    windows = np.lib.stride_tricks.sliding_window_view(synthesise(clip), 1024)[::512] * np.hanning(1024)
    edges = np.unique(np.geomspace(2, 500, 25).astype(int))
    bands = np.log(1e-4 + np.add.reduceat(abs(np.fft.rfft(windows)) ** 2, edges, axis=1))
    return np.concatenate([bands.mean(axis=0), bands.std(axis=0)])


def share_with_a_nearest_neighbour_of_their_category(vectors: list[np.ndarray]) -> float:
    x = np.array(vectors)
    distance = np.linalg.norm(x[:, None] - x, axis=-1)
    np.fill_diagonal(distance, np.inf)
    nearest = distance.argmin(axis=1)
    return float(np.mean([CLIPS[a].category == CLIPS[b].category for a, b in enumerate(nearest)]))


def test_the_file_is_h264_and_aac_of_the_planned_size_and_length(film: tuple[SampleClip, Path]) -> None:
    clip, path = film
    with av.open(str(path)) as container:
        video, audio = container.streams.video[0], container.streams.audio[0]
        assert (video.codec_context.name, audio.codec_context.name) == ("h264", "aac")
        assert (video.width, video.height, video.pix_fmt) == (clip.look.width, clip.look.height, "yuv420p")
        assert video.duration and video.time_base and audio.duration and audio.time_base
        assert float(video.duration * video.time_base) == pytest.approx(clip.seconds, abs=1 / FRAME_RATE)
        assert float(audio.duration * audio.time_base) == pytest.approx(clip.seconds, abs=0.05)


def test_every_frame_and_sample_decodes(film: tuple[SampleClip, Path]) -> None:
    clip, path = film
    with av.open(str(path)) as container:
        times = [frame.time for frame in container.decode(video=0)]
    with av.open(str(path)) as container:
        samples = np.concatenate([frame.to_ndarray().ravel() for frame in container.decode(audio=0)])
    assert len(times) == round(clip.seconds * FRAME_RATE)
    assert times == sorted(times)
    assert len(samples) >= clip.seconds * SAMPLE_RATE - 1024
    assert abs(samples).max() > 0.2


def test_there_is_a_keyframe_at_least_every_second(film: tuple[SampleClip, Path]) -> None:
    clip, path = film
    with av.open(str(path)) as container:
        keys = sorted(
            float(p.pts * p.time_base) for p in container.demux(video=0) if p.is_keyframe and p.pts is not None
        )
    assert max(np.diff([*keys, clip.seconds])) <= 1.0 + 1e-6


def test_rendering_is_deterministic_and_depends_on_the_seed(tmp_path: Path) -> None:
    clip = CLIPS[2]
    other = plan_sample(SHORT.model_copy(update={"seed": 1}))[2]
    for name, made in (("a", clip), ("b", clip), ("c", other), ("d", replace(clip, seed=clip.seed + 1))):
        render(made, tmp_path / f"{name}.mp4")
    a, b, c, d = ((tmp_path / f"{name}.mp4").read_bytes() for name in "abcd")
    assert a == b
    assert len({a, c, d}) == 3


def test_a_failed_render_leaves_only_the_old_file(tmp_path: Path) -> None:
    path = tmp_path / "clip.mp4"
    path.write_bytes(b"old")
    with pytest.raises(KeyError):
        render(replace(CLIPS[0], motion=replace(CLIPS[0].motion, kind="no such motion")), path)
    assert [(p.name, p.read_bytes()) for p in tmp_path.iterdir()] == [("clip.mp4", b"old")]


@pytest.mark.parametrize("clip", CLIPS[:12], ids=lambda clip: clip.category)
def test_every_theme_moves(clip: SampleClip) -> None:
    pictures = np.stack(list(draw(clip))).astype(np.int16)
    assert pictures.shape == (round(clip.seconds * FRAME_RATE), clip.look.height, clip.look.width, 3)
    changed = (abs(pictures[FRAME_RATE // 2] - pictures[0]).max(axis=-1) > 24).mean()
    assert changed > 0.002


def test_categories_can_be_distinguished_by_colour_alone() -> None:
    assert share_with_a_nearest_neighbour_of_their_category([colours(clip) for clip in CLIPS]) > 0.8


def test_categories_can_be_distinguished_by_sound_alone() -> None:
    assert share_with_a_nearest_neighbour_of_their_category([timbre(clip) for clip in CLIPS]) > 0.8


def test_sound_is_as_long_as_the_picture_and_never_clips() -> None:
    for clip in CLIPS[:12]:
        wave = synthesise(clip)
        assert wave.shape == (round(clip.seconds * SAMPLE_RATE),)
        assert 0.3 < abs(wave).max() <= 0.6001

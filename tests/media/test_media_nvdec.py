"""Which videos NVDEC decodes, and what happens on a machine without it. No GPU is needed."""

import logging
from collections.abc import Callable
from pathlib import Path

import av
import numpy as np
import pytest

from rayreel.deadline import Deadline
from rayreel.features.decoding import DecodeVideos, has_gpu
from rayreel.media import nvdec
from rayreel.media.clip import Clip, Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_samples
from rayreel.media.isolated import IsolatedDecoder
from rayreel.media.packets import film_in
from rayreel.media.source import VideoFile, open_file
from rayreel.settings import SettingsError, load_settings

FilmMaker = Callable[..., Path]
EXACT = SamplingConfig(frames=4, mode="exact")
SIZE = 64

without_gpu = pytest.mark.skipif(nvdec.nvidia_gpus() > 0, reason="this machine has an NVIDIA GPU")


def costs(path: Path, sampling: SamplingConfig = EXACT) -> float:
    with av.open(path) as container:
        return nvdec.cpu_s(film_in(container, container.streams.video[0], Deadline(60)), sampling)


def decoded(path: Path, decode: Callable[..., object], sampling: SamplingConfig = EXACT) -> Samples:
    with open_file(path) as file:
        assert isinstance(file, VideoFile)
        samples = decode(file, sampling, SIZE, Limits())
    assert isinstance(samples, Samples), samples
    return samples


@pytest.fixture
def all_pay(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the smallest film be worth it, because a real one takes seconds to encode."""
    monkeypatch.setattr(nvdec, "WORTH_S", 1e-4)


@pytest.mark.usefixtures("all_pay")
def test_the_predicted_cost_is_that_of_the_pictures_that_must_be_decoded(film: FilmMaker) -> None:
    pixel_s = 160 * 120 * nvdec.CPU_NS_PER_PIXEL["h264"] / 1e9
    # One group of pictures: all are decoded up to the last wanted one, number 43 of 50.
    assert costs(film(frames=50, keyframe_every=1000)) == pytest.approx(44 * pixel_s)
    # From each of the keyframes 0, 10, 30 and 40 up to the wanted pictures 6, 18, 31 and 43.
    assert costs(film("short.mp4", frames=50, keyframe_every=10)) == pytest.approx((7 + 9 + 2 + 4) * pixel_s)
    keyframes = SamplingConfig(frames=4, mode="keyframe")
    assert costs(film("keys.mp4", frames=50, keyframe_every=10), keyframes) == pytest.approx(4 * pixel_s)


@pytest.mark.usefixtures("all_pay")
def test_codecs_that_nvdec_does_not_decode_stay_on_the_cpu(film: FilmMaker) -> None:
    assert costs(film("film.avi", codec="mpeg4", keyframe_every=1000)) == 0


def test_a_short_clip_is_not_worth_it_and_a_long_group_of_large_pictures_is(
    film: FilmMaker, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nvdec, "WORTH_S", 0.01)  # 10 megapixels instead of 500
    large = film("large.mp4", frames=50, keyframe_every=1000, size=(640, 480), tone_hz=None)
    assert costs(film(frames=50, keyframe_every=1000)) == 0
    assert costs(large) >= nvdec.WORTH_S
    assert costs(large, SamplingConfig(frames=4, mode="keyframe")) < nvdec.WORTH_S


@without_gpu
@pytest.mark.usefixtures("all_pay")
@pytest.mark.parametrize("name", ["film.mp4", "film.mkv", "film.ts"])
def test_a_failure_of_nvdec_is_logged_and_the_cpu_gives_the_same_samples(
    film: FilmMaker, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    path = film(name, keyframe_every=1000, bframes=2, rotation=90 if name == "film.mp4" else 0)
    expected = decoded(path, decode_samples)
    assert not caplog.records
    found = decoded(path, nvdec.decode_with_nvdec)
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "NVDEC cannot be used" in caplog.text
    assert np.array_equal(found.frames, expected.frames)
    assert found.windows is not None
    assert expected.windows is not None
    assert np.array_equal(found.windows, expected.windows)
    assert found.facts == expected.facts


def test_a_decoder_outside_the_sandbox_is_a_process_of_its_own_and_says_what_it_gives_up(
    film: FilmMaker, caplog: pytest.LogCaptureFixture
) -> None:
    path = film()
    with (
        IsolatedDecoder(decode_with=nvdec.decode_with_nvdec, confined=False) as free,
        IsolatedDecoder() as confined,
        caplog.at_level(logging.WARNING),
    ):
        clips = [decoder.decode(str(path), EXACT, SIZE, Limits()) for decoder in (free, confined)]
        assert free.pid is not None
        status = Path(f"/proc/{free.pid}/status").read_text()
    assert "extract.nvdec gives up Landlock, seccomp, a limit of memory" in caplog.text
    assert "Seccomp:\t0" in status
    assert isinstance(clips[0], Clip)
    assert isinstance(clips[1], Clip)
    assert np.array_equal(clips[0].frames, clips[1].frames)


@without_gpu
def test_a_node_without_a_gpu_decodes_in_the_sandbox_and_says_so(caplog: pytest.LogCaptureFixture) -> None:
    has_gpu.cache_clear()
    stage = DecodeVideos(EXACT, Limits(), SIZE, nvdec=True)
    with caplog.at_level(logging.WARNING):
        assert stage.decoder() is DecodeVideos(EXACT, Limits(), SIZE).decoder()
    assert stage.decoder().confined
    assert caplog.text.count("this node has no NVIDIA GPU") == 1


@pytest.mark.parametrize(("visible", "count"), [("", 0), ("0", 1), ("1,3", 2), ("GPU-1f,GPU-2a", 2)])
def test_only_visible_gpus_are_used(monkeypatch: pytest.MonkeyPatch, visible: str, count: int) -> None:
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    nvdec.nvidia_gpus.cache_clear()
    try:
        assert nvdec.nvidia_gpus() == count
    finally:
        nvdec.nvidia_gpus.cache_clear()


def test_nvdec_and_a_required_sandbox_exclude_each_other() -> None:
    exact = ["sampling.mode=exact", "extract.nvdec=true"]
    with pytest.raises(SettingsError, match="nvdec decodes outside the sandbox"):
        load_settings(None, [*exact, "limits.require_sandbox=true"])
    assert load_settings(None, exact).extract.nvdec


def test_nvdec_needs_a_mode_in_which_cpus_decode_bit_exactly() -> None:
    with pytest.raises(SettingsError, match=r"nvdec needs sampling\.mode=exact or keyframe"):
        load_settings(None, ["extract.nvdec=true"])

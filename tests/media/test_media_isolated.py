"""A decoder that crashes, hangs or uses too much memory affects only its own video."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest

import planted
from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode
from rayreel.media.isolated import IsolatedDecoder, process_decoder

FilmMaker = Callable[..., Path]
SIZE = 64


@pytest.fixture(scope="module")
def faulty() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(max_memory_bytes=1 << 30, decode_with=planted.faulty) as decoder:
        yield decoder


@pytest.fixture(scope="module")
def sound() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder() as decoder:
        yield decoder


def take(decoder: IsolatedDecoder, path: Path, timeout_s: float = 120) -> Clip | Rejected:
    return decoder.decode(str(path), SamplingConfig(), SIZE, Limits(timeout_s=timeout_s))


def alive(pid: int) -> bool:
    """Whether a process is running, and not a zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def confession(question: str, tmp_path: Path) -> str:
    (path := tmp_path / question).touch()
    with IsolatedDecoder(decode_with=planted.confess) as decoder:
        outcome = take(decoder, path)
    assert isinstance(outcome, Rejected)
    return outcome.detail


def test_a_clip_from_the_child_equals_one_decoded_in_process(film: FilmMaker, sound: IsolatedDecoder) -> None:
    path = film(frames=50)
    here, there = decode(str(path), SamplingConfig(), SIZE, Limits()), take(sound, path)
    assert isinstance(here, Clip) and isinstance(there, Clip)
    np.testing.assert_array_equal(here.frames, there.frames)
    assert here.windows is not None and there.windows is not None
    np.testing.assert_array_equal(here.windows, there.windows)
    assert (here.facts, here.content_hash) == (there.facts, there.content_hash)


@pytest.mark.parametrize(
    ("codec", "name"),
    [
        *[("libx265", "film.mp4"), ("libvpx", "film.webm"), ("libvpx-vp9", "film.webm"), ("libsvtav1", "film.mp4")],
        *[("mpeg1video", "film.mpg"), ("mpeg2video", "film.ts"), ("msmpeg4", "film.avi"), ("wmv2", "film.wmv")],
        *[("flv", "film.flv"), ("ffv1", "film.mkv"), ("rawvideo", "film.avi")],
    ],
)
def test_no_codec_needs_a_forbidden_system_call(film: FilmMaker, sound: IsolatedDecoder, codec: str, name: str) -> None:
    path = film(name, frames=5, codec=codec, tone_hz=None)
    here, there = decode(str(path), SamplingConfig(), SIZE, Limits()), take(sound, path)
    assert isinstance(here, Clip) and isinstance(there, Clip)
    np.testing.assert_array_equal(here.frames, there.frames)
    assert here.facts == there.facts


def test_the_child_has_a_lower_priority_than_its_parent(film: FilmMaker, sound: IsolatedDecoder) -> None:
    take(sound, film())
    assert sound.pid is not None
    nice = min(19, os.getpriority(os.PRIO_PROCESS, 0) + 5)
    assert os.getpriority(os.PRIO_PROCESS, sound.pid) == nice


def test_a_clip_is_unchanged_when_the_next_one_is_decoded(film: FilmMaker, sound: IsolatedDecoder) -> None:
    first = take(sound, film("a.mp4", frames=50))
    assert isinstance(first, Clip)
    before = first.frames.copy()
    take(sound, film("b.mp4", frames=20))
    np.testing.assert_array_equal(first.frames, before)


def test_a_rejection_from_the_child_equals_one_made_in_process(tmp_path: Path, sound: IsolatedDecoder) -> None:
    (path := tmp_path / "notes.mp4").write_text("not a film")
    assert take(sound, path) == decode(str(path), SamplingConfig(), SIZE, Limits())


def test_all_videos_share_one_child(film: FilmMaker, sound: IsolatedDecoder) -> None:
    take(sound, film("a.mp4", frames=5))
    first = sound.pid
    take(sound, film("b.mp4", frames=5))
    assert first is not None and sound.pid == first


@pytest.mark.parametrize(
    ("name", "reason", "word"),
    [
        ("crash", Reason.DECODER_CRASH, "Segmentation fault"),
        ("exit", Reason.DECODER_CRASH, "exit status 3"),
        ("bug", Reason.DECODER_CRASH, "ZeroDivisionError: planted (planted.py:"),
        ("bomb", Reason.TOO_LARGE, "1,073,741,824 bytes"),
        ("slow_bomb", Reason.TOO_LARGE, "1,073,741,824 bytes"),
    ],
)
def test_a_fault_rejects_its_video_and_the_next_one_decodes(
    film: FilmMaker, faulty: IsolatedDecoder, name: str, reason: Reason, word: str
) -> None:
    outcome = take(faulty, film(f"{name}.mp4", frames=3))
    assert isinstance(outcome, Rejected) and outcome.reason is reason
    assert word in outcome.detail and f"{name}.mp4" in outcome.detail
    assert isinstance(take(faulty, film("good.mp4", frames=3)), Clip)


def test_an_error_logged_by_the_child_is_in_the_parents_log(
    film: FilmMaker, faulty: IsolatedDecoder, caplog: pytest.LogCaptureFixture
) -> None:
    assert isinstance(take(faulty, film("log.mp4", frames=3)), Clip)
    assert [record.getMessage() for record in caplog.records] == ["decoding log.mp4: broken [2J: sound left out"]
    caplog.clear()
    take(faulty, film("good.mp4", frames=3))
    assert not caplog.records


@pytest.mark.parametrize("name", ["warn", "late_imports"])
def test_side_effects_of_decoding_do_not_reject_the_video(film: FilmMaker, faulty: IsolatedDecoder, name: str) -> None:
    assert isinstance(take(faulty, film(f"{name}.mp4", frames=3)), Clip)


@pytest.mark.parametrize("name", ["hang", "hang_in_c"])
def test_a_hanging_decoder_is_killed_and_the_next_video_decodes(
    film: FilmMaker, faulty: IsolatedDecoder, name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rayreel.media.isolated.GRACE_S", 0.2)
    good = film("good.mp4", frames=3)
    take(faulty, good)
    hanging, began = faulty.pid, time.monotonic()
    outcome = take(faulty, film(f"{name}.mp4", frames=3), timeout_s=0.3)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.TIMEOUT
    assert time.monotonic() - began < 2
    assert hanging is not None and not alive(hanging)
    assert isinstance(take(faulty, good), Clip)


def test_a_child_killed_between_two_videos_is_replaced(film: FilmMaker, sound: IsolatedDecoder) -> None:
    path = film(frames=3)
    take(sound, path)
    assert sound.pid is not None
    os.kill(sound.pid, signal.SIGKILL)
    time.sleep(0.1)
    assert isinstance(take(sound, path), Clip)


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Restore Python's handler of Ctrl-C, which Ray Train replaces."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_an_interrupted_video_never_passes_its_clip_to_the_next(film: FilmMaker, faulty: IsolatedDecoder) -> None:
    hanging, good = film("hang.mp4", frames=3), film("good.mp4", frames=3)
    take(faulty, good)
    threading.Timer(0.3, signal.pthread_kill, [threading.main_thread().ident, signal.SIGINT]).start()
    began, child = time.monotonic(), faulty.pid
    with pytest.raises(KeyboardInterrupt):
        take(faulty, hanging)
    assert time.monotonic() - began < 5 and child is not None and not alive(child)
    assert isinstance(take(faulty, good), Clip)


@pytest.mark.parametrize("busy_with", ["nothing", "hang", "hang_in_c"])
def test_the_child_ends_soon_after_its_parent_is_killed(film: FilmMaker, busy_with: str) -> None:
    film("good.mp4", frames=3), film(f"{busy_with}.mp4", frames=3)
    program = f"""
import planted, threading, time
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder
decoder = IsolatedDecoder(decode_with=planted.faulty)
take = lambda name: decoder.decode({str(film("x.mp4", frames=1).parent)!r} + "/" + name, SamplingConfig(), 64, Limits())
# The thread that starts the child ends long before the process does, as on a Ray worker.
starter = threading.Thread(target=take, args=["good.mp4"])
starter.start(), starter.join()
print(decoder.pid, flush=True)
take("{busy_with}.mp4")
time.sleep(3600)
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    with subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment
    ) as parent:
        assert parent.stdout is not None
        child = int(parent.stdout.readline())
        time.sleep(0.3)
        assert alive(child)
        parent.kill()
        end = time.monotonic() + 2
        while alive(child) and time.monotonic() < end:
            time.sleep(0.01)
        assert not alive(child)


def test_the_child_imports_only_what_decoding_needs(tmp_path: Path) -> None:
    modules = set(confession("modules", tmp_path).split())
    assert {"av", "numpy"} <= modules
    assert not modules & {"torch", "ray", "mlflow", "pyarrow", "pandas", "pytest", "aiohttp"}


def test_the_child_uses_little_memory(film: FilmMaker, sound: IsolatedDecoder) -> None:
    take(sound, film(frames=3))
    status = Path(f"/proc/{sound.pid}/status").read_text().splitlines()
    assert int(next(line for line in status if line.startswith("VmRSS")).split()[1]) < 150_000


def test_the_child_has_no_credentials(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "hidden")
    assert "AWS_SECRET_ACCESS_KEY" not in confession("environment", tmp_path).split()


def test_a_decoder_that_cannot_start_is_an_error_and_rejects_no_video(film: FilmMaker) -> None:
    with (
        IsolatedDecoder(decode_with=lambda *_: Rejected(Reason.NO_FRAMES, "")) as decoder,
        pytest.raises(RayreelError, match="did not start"),
    ):
        take(decoder, film())


def test_concurrent_threads_get_their_own_clips(film: FilmMaker, sound: IsolatedDecoder) -> None:
    lengths = range(1, 7)
    paths = [film(f"{n}.mp4", frames=n, tone_hz=None) for n in lengths]
    outcomes: dict[int, Clip | Rejected] = {}

    def decode_one(n: int, path: Path) -> None:
        outcomes[n] = take(sound, path)

    threads = [threading.Thread(target=decode_one, args=pair) for pair in zip(lengths, paths, strict=True)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert {n: len(clip.frames) for n, clip in outcomes.items() if isinstance(clip, Clip)} == {n: n for n in lengths}


def test_a_process_shares_one_decoder() -> None:
    assert process_decoder() is process_decoder()

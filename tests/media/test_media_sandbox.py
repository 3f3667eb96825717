"""A compromised decoder: its attempts fail, and the next video decodes."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hostile
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip, MediaFacts, Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder
from rayreel.media.sandbox.message import DecodeRequest, read_response, write_response

FilmMaker = Callable[..., Path]
SIZE = 64
SAMPLING = SamplingConfig(frames=2, audio_windows=1, audio_window_s=0.2)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

# EACCES: a path; EPERM: arguments; ENOSYS: all other calls, as if the kernel did not have them.
PATHS, ARGUMENTS, CALLS = "EACCES", "EPERM", "ENOSYS"
ANSWERS = {
    "read the parent's environment": PATHS,
    "read its own environment": PATHS,
    "read the shadow file": PATHS,
    "read the list of users": PATHS,
    "read another file": PATHS,
    "ask for another file's size": PATHS,
    "write a file": PATHS,
    "overwrite a file": PATHS,
    "delete a file": PATHS,
    "make a folder": PATHS,
    "list a folder": PATHS,
    "enter a folder": PATHS,
    "run a program": PATHS,
    "openat2": PATHS,
    "new code": ARGUMENTS,
    "memory that is not counted": ARGUMENTS,
    "a stack that is not counted": ARGUMENTS,
    "signal the parent's thread": ARGUMENTS,
    "close the pipe that ends it": ARGUMENTS,
    "start threads": "can't start new thread",
    "fill the descriptor table": "0 taken, ENOSYS",
}
ENDINGS = {"compute without end", "hoard memory", "abort"}


@pytest.fixture(scope="module")
def decoder() -> Iterator[IsolatedDecoder]:
    with IsolatedDecoder(max_memory_bytes=1 << 30, decode_with=hostile.attack_or_decode) as running:
        yield running


def take(decoder: IsolatedDecoder, path: Path, timeout_s: float = 120, **limits: bool) -> Clip | Rejected:
    return decoder.decode(str(path), SAMPLING, SIZE, Limits(timeout_s=timeout_s, **limits))


@pytest.fixture
def targets(tmp_path: Path) -> Iterator[dict[str, object]]:
    """Targets of each kind of attempt."""
    (folder := tmp_path / "house").mkdir()
    (secret := folder / "secret").write_text("correct horse")
    (victim := folder / "victim").touch()
    unix, abstract = str(folder / "socket"), f"rayreel-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as nameless,
    ):
        for listener, address in ((named, unix), (nameless, "\0" + abstract)):
            listener.bind(address)
            listener.listen()
        found = {"secret": str(secret), "victim": str(victim), "new": str(folder / "new"), "folder": str(folder)}
        yield {**found, "port": tcp.getsockname()[1], "unix": unix, "abstract": abstract}
    assert secret.read_text() == "correct horse"
    assert {file.name for file in folder.iterdir()} == {"secret", "victim", "socket"}


def plant(folder: Path, name: str, targets: dict[str, object]) -> Path:
    (path := folder / name).write_text(json.dumps(targets))
    return path


def members(group: int) -> list[str]:
    """Return the processes of a group by command."""
    found = []
    for status in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = status.read_text().rpartition(")")[2].split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(fields[2]) == group and fields[0] != "Z":
            found.append(status.parent.name)
    return found


@pytest.mark.parametrize("name", sorted(hostile.ATTEMPTS.keys() - ENDINGS))
def test_an_attack_fails_and_the_next_video_decodes(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path, targets: dict[str, object], name: str
) -> None:
    outcome = take(decoder, plant(tmp_path, name, targets))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.NO_FRAMES
    assert outcome.detail.removeprefix("allowed: ") == ANSWERS.get(name, CALLS)
    assert decoder.pid is not None and members(decoder.pid) == [str(decoder.pid)]
    assert isinstance(take(decoder, film(frames=3)), Clip)


@pytest.mark.parametrize(
    ("name", "reason", "word"),
    [
        ("compute without end", Reason.TIMEOUT, "killed"),
        ("hoard memory", Reason.TOO_LARGE, "1,073,741,824 bytes"),
        ("abort", Reason.DECODER_CRASH, "Aborted"),
    ],
)
def test_an_attack_that_ends_the_decoder_ends_nothing_else(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path, name: str, reason: Reason, word: str
) -> None:
    outcome = take(decoder, plant(tmp_path, name, {}), timeout_s=0.3)
    assert isinstance(outcome, Rejected) and outcome.reason is reason and word in outcome.detail
    assert isinstance(take(decoder, film(frames=3)), Clip)


TAKEN = '{"token":"TOKEN","taken":{"frames":{"dtype":"%s","shape":%s},"facts":%s}}'
FACTS = '{"duration_s":1,"width":4,"height":4,"fps":25,"has_audio":false}'
NONSENSE = {
    "an empty message": "",
    "invalid JSON": "\x80\x04c__main__\nos",
    "a message that is too long": '{"token":"' + "x" * (100 << 10),
    "deep JSON": '{"token":' + "[" * 60_000,
    "a response to another request": '{"token":"00","refused":{"reason":"no_frames","detail":""}}',
    "neither samples nor a reason": '{"token":"TOKEN"}',
    "an unknown reason": '{"token":"TOKEN","refused":{"reason":"fine","detail":""}}',
    "half a surrogate pair": '{"token":"TOKEN","refused":{"reason":"no_frames","detail":"\\ud800"}}',
    "an array of objects": TAKEN % ("object", "[1,64,64,3]", FACTS),
    "negative sizes": TAKEN % ("uint8", "[-1,64,64,3]", FACTS),
    "huge sizes": TAKEN % ("uint8", "[2147483647,2147483647,2147483647,3]", FACTS),
    "more frames than requested": TAKEN % ("uint8", "[3,64,64,3]", FACTS),
    "frames of another size": TAKEN % ("uint8", "[1,65,64,3]", FACTS),
    "a duration of NaN": TAKEN % ("uint8", "[1,64,64,3]", FACTS.replace("1", "NaN", 1)),
    "a negative width": TAKEN % ("uint8", "[1,64,64,3]", FACTS.replace("4", "-4", 1)),
    "a huge width": TAKEN % ("uint8", "[1,64,64,3]", FACTS.replace("4", "9" * 4000, 1)),
    "missing windows": TAKEN % ("uint8", "[1,64,64,3]", FACTS.replace("false", "true")),
}


@pytest.mark.parametrize("name", NONSENSE)
def test_an_invalid_response_is_refused(memory: int, name: str) -> None:
    request = decode_request()
    with pytest.raises(ValueError, match=r"."):
        read_response(request, NONSENSE[name].replace("TOKEN", request.token).encode("latin-1"), memory)


@pytest.mark.parametrize(
    "name",
    [
        *("an empty message", "a message that is too long", "deep JSON", "half a surrogate pair", "huge sizes"),
        "a response to another request",
    ],
)
def test_an_invalid_response_is_a_crash_and_the_next_video_decodes(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path, name: str
) -> None:
    (path := tmp_path / "once.say").write_bytes(NONSENSE[name].encode("latin-1"))
    outcome = take(decoder, path)
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.DECODER_CRASH
    assert len(outcome.detail) < 400 and outcome.detail.isprintable() and outcome.detail.startswith("once.say")
    assert isinstance(take(decoder, film(frames=3)), Clip)


REFUSED = '{"token":"TOKEN","refused":{"reason":"no_frames","detail":"\\u001b[2Jdone"}}'


def test_a_second_response_is_never_mistaken_for_that_of_the_next_video(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path
) -> None:
    (path := tmp_path / "twice.say").write_text(REFUSED)
    assert take(decoder, path) == Rejected(Reason.NO_FRAMES, " [2Jdone")
    assert isinstance(take(decoder, film(frames=3)), Clip)


def test_a_decoder_that_keeps_computing_after_its_response_is_ended_by_the_kernel(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path
) -> None:
    (path := tmp_path / "spin.say").write_text(REFUSED)
    take(decoder, path)
    assert decoder.pid is not None
    end = time.monotonic() + 60
    while members(decoder.pid) and time.monotonic() < end:
        time.sleep(0.1)
    assert not members(decoder.pid)
    assert isinstance(take(decoder, film(frames=3)), Clip)


def test_a_decoder_that_closes_its_socket_is_killed(decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path) -> None:
    (path := tmp_path / "close.say").write_text(REFUSED)
    take(decoder, path)
    first = decoder.pid
    assert isinstance(take(decoder, film(frames=3)), Clip)
    assert first is not None and first != decoder.pid and not members(first)


def decode_request(track_s: float = 0) -> DecodeRequest:
    sampling = SAMPLING.model_copy(update={"track_s": track_s})
    return DecodeRequest.for_file("film.mp4", 1000, sampling, SIZE, Limits())


@pytest.fixture(scope="module")
def memory() -> Iterator[int]:
    descriptor = os.memfd_create("test")
    os.ftruncate(descriptor, decode_request().memory_bytes())
    yield descriptor
    os.close(descriptor)


def samples(seed: int = 0) -> Samples:
    random = np.random.default_rng(seed)
    frames = random.integers(0, 256, (2, SIZE, SIZE, 3), np.uint8)
    windows = random.uniform(-1, 1, (1, 3200)).astype(np.float32)
    return Samples(frames, windows, MediaFacts(1.5, 64, 48, 25.0, True))


def test_samples_are_received_unchanged(memory: int) -> None:
    request, sent = decode_request(), samples()
    got = read_response(request, write_response(request.token, sent, memory), memory)
    assert isinstance(got, Samples) and got.facts == sent.facts
    np.testing.assert_array_equal(got.frames, sent.frames)
    np.testing.assert_array_equal(got.windows, sent.windows)


def test_a_whole_track_is_received_unchanged_only_if_it_was_asked_for() -> None:
    track = np.arange(-8000, 8000, dtype=np.int16)
    sent = replace(samples(), track=track)
    request = decode_request(track_s=1.0)
    memory = os.memfd_create("whole")
    os.ftruncate(memory, request.memory_bytes())
    message = write_response(request.token, sent, memory)
    got = read_response(request, message, memory)
    assert isinstance(got, Samples) and got.track is not None
    np.testing.assert_array_equal(got.track, track)
    np.testing.assert_array_equal(got.windows, sent.windows)
    shorter = decode_request(track_s=0.5).model_copy(update={"token": request.token})
    with pytest.raises(ValueError, match="track"):
        read_response(shorter, message, memory)
    os.close(memory)


@pytest.mark.parametrize("value", [np.nan, np.inf, -1.001])
def test_audio_samples_that_are_not_finite_or_out_of_range_are_refused(memory: int, value: float) -> None:
    request, sent = decode_request(), samples()
    assert sent.windows is not None
    sent.windows[0, 77] = value
    message = write_response(request.token, sent, memory)
    with pytest.raises(ValueError, match="audio"):
        read_response(request, message, memory)


def test_arrays_larger_than_the_shared_memory_are_refused(memory: int) -> None:
    request = decode_request()
    message = write_response(request.token, samples(), memory)
    small = os.memfd_create("small")
    os.ftruncate(small, 100)
    with pytest.raises(ValueError, match="memory"):
        read_response(request, message, small)
    os.close(small)


leaves = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(-(1 << 70), 1 << 70),
    st.floats(),
    st.text(st.characters(exclude_categories=())),
    st.sampled_from(["uint8", "float32", "object", "no_frames", [1, 64, 64, 3], [2, 64, 64, 3], [1, 3200], {}]),
)
anything = st.recursive(leaves, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=8)


def replaced(tree: object, path: list[int], value: object) -> object:
    """Return a tree with the part at `path` replaced. Steps are indices of keys or elements, modulo their number."""
    if not path or not isinstance(tree, dict | list) or not tree:
        return value
    chosen = path[0] % len(tree)
    parts = tree.values() if isinstance(tree, dict) else tree
    changed = [replaced(part, path[1:], value) if number == chosen else part for number, part in enumerate(parts)]
    return dict(zip(tree, changed, strict=True)) if isinstance(tree, dict) else changed


@settings(max_examples=250, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(path=st.lists(st.integers(0, 7), max_size=4), value=anything, cut=st.integers(0, 400))
def test_a_changed_response_is_refused_or_satisfies_every_constraint(
    memory: int, path: list[int], value: object, cut: int
) -> None:
    request = decode_request()
    tree = json.loads(write_response(request.token, samples(), memory))
    message = json.dumps(replaced(tree, path, value)).encode()
    try:
        got = read_response(request, message[: len(message) - cut] if cut < 40 else message, memory)
    except ValueError:
        return
    if isinstance(got, Rejected):
        got.detail.encode()
        assert got.reason in Reason and got.detail.isprintable()
        return
    facts = got.facts
    assert got.frames.dtype == np.uint8 and got.frames.shape[1:] == (SIZE, SIZE, 3) and 1 <= len(got.frames) <= 2
    assert 0 <= facts.duration_s < 1e9 and 0 <= facts.fps < 1e9 and type(facts.width) is type(facts.height) is int
    assert 0 < facts.width < 1 << 31 and 0 < facts.height < 1 << 31
    assert facts.has_audio is (got.windows is not None)
    assert got.windows is None or (got.windows.shape == (1, 3200) and np.abs(got.windows).max() <= 1)


LESSER = """
import errno, json, logging, sys
from pathlib import Path
from seccompy import Action, Filter
logging.basicConfig(level=logging.WARNING, format="%(message)s", stream=sys.stdout)
less = Filter(Action.ALLOW)
less.errno(sys.argv[1], errno.ENOSYS)
less.load()
import hostile
from rayreel.errors import RayreelError
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder
folder = Path(sys.argv[2])
with IsolatedDecoder(decode_with=hostile.attack_or_decode) as decoder:
    for path in [*sorted(folder.glob("*")), folder / "film.mp4"]:
        print(path.name, "->", getattr(decoder.decode(str(path), SamplingConfig(), 64, Limits()), "detail", "clip"))
    decoder.close()
    try:
        decoder.decode(str(folder / "film.mp4"), SamplingConfig(), 64, Limits(require_sandbox=True))
    except RayreelError as error:
        print("refused:", error)
"""
BOTH_LAYERS = ("read the parent's environment", "read another file", "write a file", "list a folder")


@pytest.mark.parametrize(("lacks", "named"), [("landlock_create_ruleset", "Landlock"), ("seccomp", "seccomp")])
def test_a_kernel_without_all_layers_is_reported_once_and_refused_if_required(
    film: FilmMaker, tmp_path: Path, targets: dict[str, object], lacks: str, named: str
) -> None:
    (folder := tmp_path / "films").mkdir()
    film(frames=3).rename(folder / "film.mp4")
    for name in (*BOTH_LAYERS, "connect over TCP"):
        plant(folder, name, targets)
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    words = [sys.executable, "-c", LESSER, lacks, str(folder)]
    output = subprocess.run(words, capture_output=True, text=True, env=environment, timeout=120, check=True).stdout
    assert output.count("without the whole sandbox") == 1 and f"lacks {named}" in output
    assert "film.mp4 -> clip" in output
    assert "refused: limits.require_sandbox is set" in output and output.count(named) >= 2
    assert all(f"{name} -> EACCES" in output for name in BOTH_LAYERS)
    assert "connect over TCP -> " in output and "allowed" not in output


def test_a_complete_sandbox_satisfies_require_sandbox(decoder: IsolatedDecoder, film: FilmMaker) -> None:
    assert isinstance(take(decoder, film(frames=3), require_sandbox=True), Clip)


def test_the_decoder_has_no_capability_and_small_limits(decoder: IsolatedDecoder, film: FilmMaker) -> None:
    take(decoder, film(frames=3))
    assert decoder.pid is not None
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{decoder.pid}/status").read_text().splitlines())
    assert (int(status["CapEff"], 16), int(status["CapPrm"], 16)) == (0, 0)
    assert (status["NoNewPrivs"], status["Seccomp"], status["Threads"]) == ("1", "2", "1")
    assert os.getsid(decoder.pid) == os.getpgid(decoder.pid) == decoder.pid
    assert resource.prlimit(decoder.pid, resource.RLIMIT_NPROC) == (0, 0)
    assert resource.prlimit(decoder.pid, resource.RLIMIT_NOFILE)[1] <= 16
    assert resource.prlimit(decoder.pid, resource.RLIMIT_CPU)[0] < 1000


def test_the_decoders_environment_is_empty(tmp_path: Path) -> None:
    (path := tmp_path / "environment").touch()
    with IsolatedDecoder(decode_with=hostile.environment) as decoder:
        assert take(decoder, path) == Rejected(Reason.NO_FRAMES, "{}")

"""A decoder taken over by its video: what it tries, what the kernel answers, and that the next video decodes."""

import json
import os
import resource
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import hostile
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip, Facts, Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.isolated import IsolatedDecoder
from rayreel.media.sandbox.message import Question, read_answer, write_answer

FilmMaker = Callable[..., Path]
SIZE = 64
SAMPLING = SamplingConfig(frames=2, audio_windows=1, audio_window_s=0.2)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="the sandbox is Linux's")

# EACCES: a path; EPERM: arguments; ENOSYS: all the rest, as if the kernel did not know the call.
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
    """Something to reach, of each kind."""
    (folder := tmp_path / "house").mkdir()
    (secret := folder / "secret").write_text("correct horse")
    (victim := folder / "victim").touch()
    unix, abstract = str(folder / "socket"), f"rayreel-test-{os.getpid()}"
    with (
        socket.create_server(("127.0.0.1", 0)) as tcp,
        socket.socket(socket.AF_UNIX) as named,
        socket.socket(socket.AF_UNIX) as nameless,
    ):
        named.bind(unix), nameless.bind("\0" + abstract)
        named.listen(), nameless.listen()
        found = {"secret": str(secret), "victim": str(victim), "new": str(folder / "new"), "folder": str(folder)}
        yield {**found, "port": tcp.getsockname()[1], "unix": unix, "abstract": abstract}
    assert secret.read_text() == "correct horse"
    assert {file.name for file in folder.iterdir()} == {"secret", "victim", "socket"}


def plant(folder: Path, name: str, targets: dict[str, object]) -> Path:
    (path := folder / name).write_text(json.dumps(targets))
    return path


def members(group: int) -> list[str]:
    """Processes of a group, by their command."""
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
def test_an_attempt_fails_and_the_next_video_decodes(
    decoder: IsolatedDecoder, film: FilmMaker, tmp_path: Path, targets: dict[str, object], name: str
) -> None:
    outcome = take(decoder, plant(tmp_path, name, targets))
    assert isinstance(outcome, Rejected) and outcome.reason is Reason.NO_FRAMES
    assert outcome.detail.removeprefix("allowed: ") == ANSWERS.get(name, CALLS)
    assert decoder.pid is not None and members(decoder.pid) == [str(decoder.pid)]
    assert isinstance(take(decoder, film(frames=3)), Clip)

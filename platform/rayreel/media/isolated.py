"""Decoding in a child process: a segfault, a memory bomb or a hang is the outcome of that one video."""

import fcntl
import io
import json
import logging
import os
import pickle
import pkgutil
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from functools import cache
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any, Self

import numpy as np

from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file
from rayreel.media.fetch import local_copy

Decode = Callable[[Path, SamplingConfig, int, Limits], Clip | Rejected]

MAX_MEMORY_BYTES = 2 << 30
# Decoding watches its own deadline and mostly ends by itself; this is for a decoder that no longer looks up.
GRACE_S = 2.0
_START_S = 60.0
_NICER = 5
_OUT_OF_MEMORY = 77
# The child holds no secrets: what it decodes may be written to take it over. The fetching is done by the parent.
_ENVIRONMENT = ("PATH", "LD_LIBRARY_PATH", "LANG", "LC_ALL", "TMPDIR", "TZ")
# glibc would hand a video's memory back to the system and fetch it page by page for the next: 1.5 ms a video.
_TUNING = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
}
_PROGRAM = "import sys; from rayreel.media.isolated import serve; serve(*map(int, sys.argv[1:4]), sys.argv[4])"
_ANSWERS = {
    "rayreel.media.clip": None,
    "rayreel.media.config": None,
    "rayreel.failures": None,
    "numpy": {"dtype"},
    "numpy._core.numeric": {"_frombuffer"},
}


class IsolatedDecoder:
    """Decodes videos one at a time in a child process, started at the first video and replaced when it dies.

    `max_memory_bytes` is what the child may allocate; `allowed_roots` as for `local_copy`. `decode_with` is a function
    at the top level of a module that the child can import. Not for use across a fork; safe to share between threads.
    """

    def __init__(
        self,
        max_memory_bytes: int = MAX_MEMORY_BYTES,
        allowed_roots: Sequence[Path] = (),
        decode_with: Decode = decode_file,
    ) -> None:
        self.max_memory_bytes = max_memory_bytes
        self.allowed_roots = tuple(allowed_roots)
        self.decode_with = f"{decode_with.__module__}:{decode_with.__qualname__}"
        self._child: _Child | None = None
        self._turn = threading.Lock()

    def decode(self, uri: str, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        """As `rayreel.media.decode.decode`; also survives what would end a process.

        Rejected for `DECODER_CRASH`, for `TOO_LARGE` when memory ran out, for `TIMEOUT` when the child had to be
        killed. Raises RayreelError where no child process can be started.
        """
        with local_copy(uri, limits, self.allowed_roots) as path:
            if isinstance(path, Rejected):
                return path
            with self._turn:
                return self._decode(path, sampling, size, limits)

    def close(self) -> None:
        """End the child; the next video would start another."""
        with self._turn:
            if self._child is not None:
                self._child.end()
                self._child = None

    @property
    def pid(self) -> int | None:
        """The child's process id; None while there is none."""
        return self._child.process.pid if self._child else None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _decode(self, path: Path, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
        child, self._child = self._child, None
        if child is None or child.process.poll() is not None:
            child = _Child(self.max_memory_bytes, self.decode_with)
        try:
            outcome = child.ask((path, sampling, size, limits), limits.timeout_s + GRACE_S)
        except BaseException:  # an interrupt between question and answer: the next video must not get this one's clip
            child.end()
            raise
        if child.process.returncode is None:
            self._child = child
        return outcome


@cache
def process_decoder(
    max_memory_bytes: int = MAX_MEMORY_BYTES,
    allowed_roots: tuple[Path, ...] = (),
    decode_with: Decode = decode_file,
) -> IsolatedDecoder:
    """The one decoder of this process, which lives as long as it: what tasks on a Ray worker share."""
    return IsolatedDecoder(max_memory_bytes, allowed_roots, decode_with)


class _Child:
    """A running child: a question goes over a socket, the arrays of the answer come back through shared memory."""

    def __init__(self, max_memory_bytes: int, decode_with: str) -> None:
        ours, theirs = socket.socketpair()
        self.max_memory_bytes = max_memory_bytes
        self.connection = Connection(ours.detach())
        self.memory = os.memfd_create("rayreel-clip")
        words = (theirs.fileno(), self.memory, max_memory_bytes, decode_with)
        # A fresh interpreter and no multiprocessing: that would import the parent's __main__, and Ray with it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, words)],
            stdin=subprocess.PIPE,
            pass_fds=(theirs.fileno(), self.memory),
            env=_environment(),
        )
        theirs.close()
        if not self._says_ready():
            self.end()
            code = self.process.returncode
            raise RayreelError(
                f"The decoder process ({decode_with}) does not start: exit status {code}, its words are on stderr. "
                "Check that rayreel imports with this Python and that the memory limit leaves it room."
            )

    def ask(self, question: tuple[Path, SamplingConfig, int, Limits], timeout_s: float) -> Clip | Rejected:
        """One video's outcome; afterwards the process may be gone."""
        name = question[0].name
        try:
            self.connection.send_bytes(pickle.dumps(question))
            if self.connection.poll(timeout_s):
                return self._receive()
        except (EOFError, OSError):
            return self._obituary(name)
        except Exception as error:  # noqa: BLE001 - nonsense from a child that something has taken over
            self.end()
            return Rejected(Reason.DECODER_CRASH, f"{name}: no valid answer, {type(error).__name__}: {error}")
        self.end()
        return Rejected(Reason.TIMEOUT, f"{name}: no answer within {timeout_s:.0f} s, the decoder was killed")

    def end(self) -> None:
        """Kill the process and free what belongs to it."""
        self.process.kill()
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.connection.close()
        os.close(self.memory)

    def _says_ready(self) -> bool:
        try:
            return self.connection.poll(_START_S) and self.connection.recv_bytes(64) == b"ready"
        except (EOFError, OSError):
            return False

    def _receive(self) -> Clip | Rejected:
        sizes = json.loads(self.connection.recv_bytes(1 << 16))
        if sum(sizes) > os.fstat(self.memory).st_size:
            raise ValueError("the answer is larger than its memory")
        head, *arrays = parts = [np.empty(size, np.uint8).data for size in sizes]
        os.preadv(self.memory, parts, 0)
        outcome = _Unpickler(io.BytesIO(head), buffers=arrays).load()
        if not isinstance(outcome, Clip | Rejected):
            raise TypeError(f"the answer is a {type(outcome).__name__}")
        return outcome

    def _obituary(self, name: str) -> Rejected:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)  # the socket closes a moment before the exit status is there
        self.end()
        if (code := self.process.returncode) == _OUT_OF_MEMORY:
            return Rejected(Reason.TOO_LARGE, f"{name}: decoding takes more than {self.max_memory_bytes:,} bytes")
        how = f"exit status {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
        return Rejected(Reason.DECODER_CRASH, f"{name}: the decoder died, {how}")


class _Unpickler(pickle.Unpickler):
    """Reads clips and rejections and nothing else: a pickle from a process taken over could call anything."""

    def find_class(self, module: str, name: str) -> Any:  # noqa: ANN401 - the signature of pickle
        found = super().find_class(module, name) if module in _ANSWERS and "." not in name else None
        names = _ANSWERS.get(module)
        if name in names if names else isinstance(found, type) and found.__module__ == module:
            return found
        raise pickle.UnpicklingError(f"{module}.{name} has no place in an answer")


def serve(connection_fd: int, memory_fd: int, max_memory_bytes: int, decode_with: str) -> None:
    """What the child does until it or its parent dies: answer each question with a clip or a rejection."""
    _die_with_parent()
    _limit(max_memory_bytes)
    # Networks go first where they share cores with decoding: with full queues before them decoders would have to stop.
    os.nice(_NICER)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is for the parent
    logging.basicConfig(level=logging.ERROR)  # a line per damaged packet would drown the log of whoever shares stderr
    decode: Decode = pkgutil.resolve_name(decode_with)
    connection = Connection(connection_fd)
    connection.send_bytes(b"ready")
    with suppress(EOFError):  # the parent is done
        while True:
            _answer(connection, memory_fd, decode)


def _answer(connection: Connection, memory_fd: int, decode: Decode) -> None:
    question = pickle.loads(connection.recv_bytes())  # noqa: S301 - from the parent
    try:
        sizes = _write(_outcome(decode, question), memory_fd)
    except MemoryError:
        os._exit(_OUT_OF_MEMORY)
    connection.send_bytes(json.dumps(sizes).encode())


def _outcome(decode: Decode, question: tuple[Path, SamplingConfig, int, Limits]) -> Clip | Rejected:
    try:
        return decode(*question)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - one video that decoding has no answer for must not stop the others
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Rejected(Reason.DECODER_CRASH, f"{question[0].name}: {type(error).__name__}: {error} ({where})")


def _write(outcome: Clip | Rejected, memory_fd: int) -> list[int]:
    """The pickle, then its arrays, into shared memory; returns their sizes, bytes."""
    buffers: list[pickle.PickleBuffer] = []
    head = pickle.dumps(outcome, protocol=5, buffer_callback=buffers.append)
    parts = [memoryview(head), *(buffer.raw() for buffer in buffers)]
    os.pwritev(memory_fd, parts, 0)
    return [part.nbytes for part in parts]


def _die_with_parent() -> None:
    """Standard input is a pipe whose other end only the parent holds; when that closes, the kernel ends this process.

    By a signal, since a hanging decoder may never let another thread run. PR_SET_PDEATHSIG would do it too early: when
    the thread that started this process ends.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # closed before the signal was ordered
        os._exit(0)


def _limit(max_memory_bytes: int) -> None:
    """Cap memory and the size of the answer; write no core dumps, which hold as much as the memory does."""
    for what, value in (
        (resource.RLIMIT_DATA, max_memory_bytes),
        (resource.RLIMIT_FSIZE, max_memory_bytes),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(what)[1]
        most = value if hard == resource.RLIM_INFINITY else min(value, hard)
        resource.setrlimit(what, (most, most))


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    return kept | _TUNING | {"PYTHONPATH": path}

"""The parent's side of a decoding process: start it, ask it, end it."""

import fcntl
import logging
import math
import os
import resource
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from functools import cache
from pathlib import Path

from rayreel.errors import RayreelError
from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Samples
from rayreel.media.sandbox.message import MAX_BYTES, Question, Ready, read_answer
from rayreel.media.sandbox.serve import OUT_OF_MEMORY
from rayreel.media.source import VideoFile

log = logging.getLogger(__name__)

_START_S = 60.0
_IDLE_CPU_S = 2  # what cleaning up after an answer may take
# The process holds no secrets: what it decodes may be written to take it over. The rest is gone once it has started.
_ENVIRONMENT = ("LD_LIBRARY_PATH",)
# glibc would hand a video's memory back to the system and fetch it page by page for the next: 1.5 ms a video.
_TUNING = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "PYTHONUTF8": "1",
}
_PROGRAM = "import sys; from rayreel.media.sandbox.serve import serve; serve(*map(int, sys.argv[1:3]), sys.argv[3])"


class DecoderProcess:
    """A running process: a question and two descriptors go over a socket, arrays come back through shared memory."""

    def __init__(self, max_memory_bytes: int, decode_with: str) -> None:
        if sys.platform != "linux":
            raise RayreelError("Videos are decoded in a process that Linux shuts in. Run this on Linux.")
        self.max_memory_bytes = max_memory_bytes
        self.memory: int | None = None
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        words = (theirs.fileno(), max_memory_bytes, decode_with)
        # A fresh interpreter and no multiprocessing: that would import the parent's __main__, and Ray with it.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, words)],
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            pass_fds=(theirs.fileno(),),
            env=_environment(),
            cwd="/",
            start_new_session=True,  # Ctrl-C is for the parent
        )
        theirs.close()
        ready = self._ready()
        if ready is None:
            self.end()
            code = self.process.returncode
            raise RayreelError(
                f"The decoder process ({decode_with}) does not start: exit status {code}, its words are on stderr. "
                "Check that rayreel imports with this Python and that the memory limit leaves it room."
            )
        self.missing = tuple(ready.missing)
        if self.missing:
            _warn(self.missing)

    @property
    def usable(self) -> bool:
        """Whether it runs and has said nothing that nobody asked for."""
        return self.process.poll() is None and not select.select([self.connection], [], [], 0)[0]

    def ask(self, file: VideoFile, question: Question, timeout_s: float) -> Samples | Rejected:
        """One video's outcome; afterwards the process may be gone."""
        memory = self._memory(question.memory_bytes())
        try:
            self._allow_cpu(math.ceil(timeout_s) + 1)
            self.connection.settimeout(timeout_s)
            words = question.model_dump_json().encode()
            socket.send_fds(self.connection, [words], [file.descriptor, memory])
            message = self.connection.recv(MAX_BYTES)
        except TimeoutError:
            self.end()
            detail = f"{question.name}: no answer within {timeout_s:.0f} s, the decoder was killed"
            return Rejected(Reason.TIMEOUT, detail)
        except OSError:
            message = b""
        if not message:
            return self._obituary(question.name)
        with suppress(OSError):  # it may have ended since
            self._allow_cpu(_IDLE_CPU_S)
        try:
            return read_answer(question, message, memory)
        except ValueError as error:  # nonsense from a process that something has taken over
            self.end()
            why = " ".join(str(error).split())[:200]
            return Rejected(Reason.DECODER_CRASH, f"{question.name}: no valid answer, {type(error).__name__}: {why}")

    def end(self) -> None:
        """Kill the process and free what belongs to it."""
        if self.process.returncode is None:
            # Its group, of which it is the only member: it cannot start others.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.connection.close()
        if self.memory is not None:
            os.close(self.memory)
            self.memory = None

    def _ready(self) -> Ready | None:
        self.connection.settimeout(_START_S)
        try:
            message = self.connection.recv(MAX_BYTES)
        except OSError:
            return None
        return Ready.model_validate_json(message) if message else None

    def _memory(self, count: int) -> int:
        """Memory of at least `count` bytes, whose size nothing can change: read beyond its end, it would kill us."""
        if self.memory is not None and os.fstat(self.memory).st_size >= count:
            return self.memory
        if self.memory is not None:
            os.close(self.memory)
        self.memory = os.memfd_create("rayreel-clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memory, count)
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return self.memory

    def _allow_cpu(self, seconds: int) -> None:
        """From now on; it gets SIGXCPU after that, also when this process is stopped and watches nothing."""
        # The number that clock_getcpuclockid(3) gives, which Python lacks.
        used_s = time.clock_gettime((~self.process.pid << 3) | 2)
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_CPU)[1]
        soft = math.ceil(used_s) + seconds
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (soft, hard))

    def _obituary(self, name: str) -> Rejected:
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)  # the socket closes a moment before the exit status is there
        self.end()
        if (code := self.process.returncode) == OUT_OF_MEMORY:
            return Rejected(Reason.TOO_LARGE, f"{name}: decoding takes more than {self.max_memory_bytes:,} bytes")
        how = f"exit status {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
        return Rejected(Reason.DECODER_CRASH, f"{name}: the decoder died, {how}")


@cache
def _warn(missing: tuple[str, ...]) -> None:
    """Once in the life of this process."""
    log.warning(
        "Videos are decoded without the whole sandbox: this kernel or container lacks %s. A video made to take over "
        "its decoder could reach what this user can. Set limits.require_sandbox=true to refuse decoding here.",
        ", ".join(missing),
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    return kept | _TUNING | {"PYTHONPATH": path}

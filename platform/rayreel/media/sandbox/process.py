"""The parent's side of a decoding process: start it, query it, end it."""

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
from rayreel.media.sandbox.message import MAX_BYTES, DecodeRequest, DecoderReady, read_response
from rayreel.media.sandbox.serve import OUT_OF_MEMORY
from rayreel.media.source import VideoFile

log = logging.getLogger(__name__)

_START_S = 180.0  # without load it takes half a second
_IDLE_CPU_S = 2  # for the clean-up after a response
# The process must hold no secrets, because a video may compromise it. Once started, it clears even these variables.
_ENVIRONMENT = ("LD_LIBRARY_PATH", "CUDA_VISIBLE_DEVICES")
# Otherwise glibc returns a video's memory to the system and faults it in again for the next: 1.5 ms per video.
_TUNING = {
    "OPENBLAS_NUM_THREADS": "1",
    "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
    "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
    "PYTHONUTF8": "1",
}
_PROGRAM = "import sys; from rayreel.media.sandbox.serve import serve; serve(*map(int, sys.argv[1:4]), sys.argv[4])"


class DecoderProcess:
    """A running process. Receives a request and two descriptors over a socket; returns arrays in shared memory."""

    def __init__(self, max_memory_bytes: int, decode_with: str, *, confined: bool = True) -> None:
        if sys.platform != "linux":
            raise RayreelError("Videos are decoded in a sandbox that needs Linux. Run this on Linux.")
        self.max_memory_bytes = max_memory_bytes
        self.memory: int | None = None
        self.connection, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        arguments = (theirs.fileno(), max_memory_bytes, int(confined), decode_with)
        # Not multiprocessing, which would import the parent's __main__ and with it Ray.
        self.process = subprocess.Popen(
            [sys.executable, "-P", "-c", _PROGRAM, *map(str, arguments)],
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
                f"The decoder process ({decode_with}) did not start: exit status {code}; see its error on stderr. "
                "Check that this Python can import rayreel and that limits.max_memory_bytes is large enough."
            )
        self.missing = tuple(ready.missing)
        if self.missing:
            _warn(self.missing, "this kernel or container lacks" if confined else "extract.nvdec gives up")

    @property
    def usable(self) -> bool:
        """Whether the process runs and has sent no unexpected message."""
        return self.process.poll() is None and not select.select([self.connection], [], [], 0)[0]

    @property
    def cpu_s(self) -> float:
        """CPU time that the process has used, in seconds."""
        # The clock ID that clock_getcpuclockid(3) returns; Python has no binding for another process.
        return time.clock_gettime((~self.process.pid << 3) | 2)

    def ask(self, file: VideoFile, request: DecodeRequest, timeout_s: float) -> Samples | Rejected:
        """Return the outcome for one video. The process may have ended afterwards."""
        memory = self._memory(request.memory_bytes())
        try:
            self._allow_cpu(math.ceil(timeout_s) + 1)
            self.connection.settimeout(timeout_s)
            payload = request.model_dump_json().encode()
            socket.send_fds(self.connection, [payload], [file.descriptor, memory])
            message = self.connection.recv(MAX_BYTES)
        except TimeoutError:
            self.end()
            detail = f"{request.name}: no result within {timeout_s:g} s; the decoder was killed"
            return Rejected(Reason.TIMEOUT, detail)
        except OSError:
            message = b""
        if not message:
            return self._death(request.name)
        with suppress(OSError):  # it may have ended since
            self._allow_cpu(_IDLE_CPU_S)
        try:
            return read_response(request, message, memory)
        except ValueError as error:  # an invalid response means that the process is compromised
            self.end()
            why = " ".join(str(error).split())[:200]
            return Rejected(Reason.DECODER_CRASH, f"{request.name}: invalid response, {type(error).__name__}: {why}")

    def end(self) -> None:
        """Kill the process and close its socket and memory."""
        if self.process.returncode is None:
            # The process is the only member of its group: it cannot start others.
            with suppress(ProcessLookupError):
                os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        assert self.process.stdin is not None
        self.process.stdin.close()
        self.connection.close()
        if self.memory is not None:
            os.close(self.memory)
            self.memory = None

    def _ready(self) -> DecoderReady | None:
        self.connection.settimeout(_START_S)
        try:
            message = self.connection.recv(MAX_BYTES)
        except TimeoutError as error:
            self.end()
            raise RayreelError(
                f"The decoder process did not start within {_START_S:g} s. This machine is overloaded: run less on it "
                "at once, such as with fewer CPUs for Ray."
            ) from error
        except OSError:
            return None
        return DecoderReady.model_validate_json(message) if message else None

    def _memory(self, count: int) -> int:
        """Return memory of at least `count` bytes, sealed so that the child cannot change its size."""
        if self.memory is not None and os.fstat(self.memory).st_size >= count:
            return self.memory
        if self.memory is not None:
            os.close(self.memory)
        self.memory = os.memfd_create("rayreel-clip", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.memory, count)
        fcntl.fcntl(self.memory, fcntl.F_ADD_SEALS, fcntl.F_SEAL_GROW | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_SEAL)
        return self.memory

    def _allow_cpu(self, seconds: int) -> None:
        """Limit the CPU time from now on. The kernel sends SIGXCPU after that, even if this process is stopped."""
        used_s = self.cpu_s
        hard = resource.prlimit(self.process.pid, resource.RLIMIT_CPU)[1]
        soft = math.ceil(used_s) + seconds
        soft = soft if hard == resource.RLIM_INFINITY else min(soft, hard)
        resource.prlimit(self.process.pid, resource.RLIMIT_CPU, (soft, hard))

    def _death(self, name: str) -> Rejected:
        """Return the outcome for a video on which the process died."""
        with suppress(subprocess.TimeoutExpired):
            self.process.wait(1.0)  # the socket closes shortly before the exit status is available
        self.end()
        if (code := self.process.returncode) == OUT_OF_MEMORY:
            return Rejected(
                Reason.TOO_LARGE,
                f"{name}: decoding takes more than limits.max_memory_bytes, {self.max_memory_bytes:,} bytes",
            )
        how = f"exit status {code}" if code >= 0 else signal.strsignal(-code) or f"signal {-code}"
        return Rejected(Reason.DECODER_CRASH, f"{name}: the decoder died, {how}")


@cache
def _warn(missing: tuple[str, ...], why: str) -> None:
    """Log a warning, once per process."""
    log.warning(
        "Videos are decoded without the whole sandbox: %s %s. A malicious video that compromises the decoder could "
        "access what this user can. Set limits.require_sandbox=true to forbid this.",
        why,
        ", ".join(missing),
    )


def _environment() -> dict[str, str]:
    kept = {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
    path = os.pathsep.join(str(Path(folder).absolute()) for folder in sys.path)
    return kept | _TUNING | {"PYTHONPATH": path}

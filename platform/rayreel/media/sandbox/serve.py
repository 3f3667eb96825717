"""The main loop of the decoding process: confine itself, then answer one request after another."""

import fcntl
import importlib
import logging
import os
import pkgutil
import select
import signal
import socket
import sys
import traceback
from collections.abc import Callable
from pathlib import Path
from types import ModuleType

import av

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Samples
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.sandbox.confine import confine, limit_memory
from rayreel.media.sandbox.message import MAX_BYTES, MAX_NOTES, DecodeRequest, DecoderReady, write_response
from rayreel.media.source import VideoFile

Decode = Callable[[VideoFile, SamplingConfig, int, Limits], Samples | Rejected]

OUT_OF_MEMORY = 77
# Layers that a process without a sandbox lacks.
UNCONFINED = ("Landlock", "seccomp", "a limit of memory")
_NICER = 5
# All but the development tools.
_NUMPY_PARTS = [
    "char",
    "ctypeslib",
    "dtypes",
    "exceptions",
    "fft",
    "linalg",
    "ma",
    "polynomial",
    "random",
    "rec",
    "strings",
]


class _Notes(logging.Handler):
    """Keeps the errors that decoding logs, to send them to the parent: this process has no other output."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep the first few; a damaged file may cause thousands."""
        if len(self.kept) < MAX_NOTES:
            cause = getattr(record, "error", None)
            self.kept.append(f"{record.getMessage()}: {cause}" if cause else record.getMessage())


_notes = _Notes()


def serve(connection: int, max_memory_bytes: int, confined: int, decode_with: str) -> None:
    """Answer requests with samples or a rejection until this process or its parent dies.

    Without `confined` (0), this process may use devices, and its memory is not limited.
    """
    _die_with_parent()
    if confined:
        limit_memory(max_memory_bytes)
    # Encoders have priority on shared cores: once their queues are full, decoding has to wait anyway.
    os.nice(_NICER)
    logging.basicConfig(level=logging.ERROR, handlers=[_notes])
    decode: Decode = pkgutil.resolve_name(decode_with)
    _import_whole(av)
    _import_numpy()
    _redirect_output()
    parent = socket.socket(fileno=connection)
    missing = confine(max_memory_bytes) if confined else list(UNCONFINED)
    sys.stderr.close()
    sys.stderr = sys.__stderr__  # descriptor 2, now /dev/null: Python warnings are written there
    os.write(connection, DecoderReady(missing=missing).model_dump_json().encode())
    while _serve_next(parent, decode):
        pass
    os._exit(0)  # the interpreter's own shutdown makes forbidden system calls


def _serve_next(parent: socket.socket, decode: Decode) -> bool:
    """Answer the next request; return False if the parent has closed the socket."""
    message, descriptors, _, _ = socket.recv_fds(parent, MAX_BYTES, 2)
    if not message:
        return False
    video, memory = descriptors
    request = DecodeRequest.model_validate_json(message, strict=False)
    try:
        file = VideoFile(video, request.name, request.bytes)
        os.write(parent.fileno(), _response(request, _outcome(decode, file, request), memory))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    finally:
        os.close(video)
        os.close(memory)
    return True


def _response(request: DecodeRequest, outcome: Samples | Rejected, memory: int) -> bytes:
    notes, _notes.kept = _notes.kept, []
    try:
        return write_response(request.token, outcome, memory, notes)
    except (ValueError, OSError) as error:  # impossible facts or sizes
        why = " ".join(str(error).split())
        rejected = Rejected(Reason.DECODER_CRASH, f"{request.name}: invalid outcome, {why}")
        return write_response(request.token, rejected, memory)


def _outcome(decode: Decode, file: VideoFile, request: DecodeRequest) -> Samples | Rejected:
    try:
        return decode(file, request.sampling, request.size, request.limits)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - an unexpected error for one video must not stop the others
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Rejected(Reason.DECODER_CRASH, f"{file.name}: {type(error).__name__}: {error} ({where})")


def _die_with_parent() -> None:
    """Make the kernel kill this process when the parent ends, which closes the other end of standard input.

    SIGKILL cannot be blocked, and needs no other thread, which a hanging decoder might never let run. PR_SET_PDEATHSIG
    would be too early: it fires when the thread that started this process ends.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # closed before the signal was set up
        os._exit(0)


def _import_whole(package: ModuleType) -> None:
    """Import all modules of a package, because lazy imports would fail after confinement."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _import_numpy() -> None:
    """Import NumPy's lazy submodules. Even `median` looks up one, which it never uses."""
    for part in _NUMPY_PARTS:
        importlib.import_module(f"numpy.{part}")


def _redirect_output() -> None:
    """Redirect output to /dev/null, so that it cannot fill a log or control a terminal.

    `sys.stderr` still works until start-up is complete.
    """
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)

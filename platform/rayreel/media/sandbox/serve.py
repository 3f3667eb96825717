"""The life of the process that decodes: shut itself in, then answer one question after the other."""

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
from rayreel.media.sandbox.message import MAX_BYTES, MAX_NOTES, Question, Ready, write_answer
from rayreel.media.source import VideoFile

Decode = Callable[[VideoFile, SamplingConfig, int, Limits], Samples | Rejected]

OUT_OF_MEMORY = 77
_NICER = 5
# All but those for development.
_NUMPY_PARTS = (
    *("char", "ctypeslib", "dtypes", "exceptions", "fft", "linalg", "ma", "polynomial", "random", "rec", "strings"),
)


class _Notes(logging.Handler):
    """Errors that decoding logs, for the parent to log: this process writes to no one else."""

    def __init__(self) -> None:
        super().__init__()
        self.kept: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a few; a damaged file may have thousands."""
        if len(self.kept) < MAX_NOTES:
            cause = getattr(record, "error", None)
            self.kept.append(f"{record.getMessage()}: {cause}" if cause else record.getMessage())


_notes = _Notes()


def serve(connection: int, max_memory_bytes: int, decode_with: str) -> None:
    """Answer each question with samples or a rejection until this process or its parent dies."""
    _die_with_parent()
    limit_memory(max_memory_bytes)
    # Networks go first where they share cores with decoding: with full queues before them decoders would have to stop.
    os.nice(_NICER)
    logging.basicConfig(level=logging.ERROR, handlers=[_notes])
    decode: Decode = pkgutil.resolve_name(decode_with)
    _import_whole(av)
    _import_numpy()
    _redirect_output()
    parent = socket.socket(fileno=connection)
    missing = confine(max_memory_bytes)
    sys.stderr.close()
    sys.stderr = sys.__stderr__  # descriptor 2, which leads nowhere: a warning is written there, and is no error
    os.write(connection, Ready(missing=missing).model_dump_json().encode())
    while _answer(parent, decode):
        pass
    os._exit(0)  # the interpreter's own end asks for more than is allowed here


def _answer(parent: socket.socket, decode: Decode) -> bool:
    """Answer the next question; False when the parent is done."""
    message, descriptors, _, _ = socket.recv_fds(parent, MAX_BYTES, 2)
    if not message:
        return False
    video, memory = descriptors
    question = Question.model_validate_json(message, strict=False)
    try:
        file = VideoFile(video, question.name, question.bytes)
        os.write(parent.fileno(), _message(question, _outcome(decode, file, question), memory))
    except MemoryError:
        os._exit(OUT_OF_MEMORY)
    finally:
        os.close(video)
        os.close(memory)
    return True


def _message(question: Question, outcome: Samples | Rejected, memory: int) -> bytes:
    notes, _notes.kept = _notes.kept, []
    try:
        return write_answer(question.token, outcome, memory, notes)
    except (ValueError, OSError) as error:  # facts or sizes that no video has
        why = " ".join(str(error).split())
        return write_answer(
            question.token, Rejected(Reason.DECODER_CRASH, f"{question.name}: no valid outcome, {why}"), memory
        )


def _outcome(decode: Decode, file: VideoFile, question: Question) -> Samples | Rejected:
    try:
        return decode(file, question.sampling, question.size, question.limits)
    except MemoryError:
        raise
    except Exception as error:  # noqa: BLE001 - one video that decoding has no answer for must not stop the others
        place = traceback.extract_tb(error.__traceback__)[-1]
        where = f"{Path(place.filename).name}:{place.lineno}"
        return Rejected(Reason.DECODER_CRASH, f"{file.name}: {type(error).__name__}: {error} ({where})")


def _die_with_parent() -> None:
    """Standard input is a pipe whose other end only the parent holds; when that closes, the kernel ends this process.

    By a signal, since a hanging decoder may never let another thread run, and by one that nothing can block.
    PR_SET_PDEATHSIG would do it too early: when the thread that started this process ends.
    """
    fcntl.fcntl(0, fcntl.F_SETOWN, os.getpid())
    fcntl.fcntl(0, fcntl.F_SETSIG, signal.SIGKILL)
    fcntl.fcntl(0, fcntl.F_SETFL, os.O_ASYNC)
    if select.select([0], [], [], 0)[0]:  # closed before the signal was ordered
        os._exit(0)


def _import_whole(package: ModuleType) -> None:
    """A library that imports its parts when they are first used would find them closed."""
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        if not module.name.endswith("__main__"):
            importlib.import_module(module.name)


def _import_numpy() -> None:
    """NumPy imports its parts when a name of theirs is looked up: `median` does so for one that it never needs."""
    for part in _NUMPY_PARTS:
        importlib.import_module(f"numpy.{part}")


def _redirect_output() -> None:
    """Nobody may fill a log or write to a terminal; `sys.stderr` still says what fails while starting."""
    sys.stderr = os.fdopen(os.dup(2), "w")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    os.close(nowhere)

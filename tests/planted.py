"""Decoders with faults planted in them, for tests of what survives them; importable by the decoding process."""

import ctypes
import os
import sys
import time
from pathlib import Path

from rayreel.failures import Reason, Rejected
from rayreel.media.clip import Clip
from rayreel.media.config import Limits, SamplingConfig
from rayreel.media.decode import decode_file


def faulty(path: Path, sampling: SamplingConfig, size: int, limits: Limits) -> Clip | Rejected:
    """Does to itself what the file's name says; decodes any other file."""
    match path.stem:
        case "crash":
            ctypes.string_at(0)
        case "hang":
            time.sleep(3600)
        case "hang_in_c":  # keeps the interpreter's lock, so that no other thread runs either
            ctypes.PyDLL(None).sleep(3600)
        case "exit":
            os._exit(3)
        case "bug":
            raise ZeroDivisionError("planted")
        case "bomb":
            hoard = bytearray(64 << 30)
            return Rejected(Reason.NO_FRAMES, str(len(hoard)))
        case "slow_bomb":
            pieces = []
            while True:
                pieces.append(b"x" * (16 << 20))
    return decode_file(path, sampling, size, limits)


def confess(path: Path, _sampling: SamplingConfig, _size: int, _limits: Limits) -> Rejected:
    """No decoding: tells of the process it runs in."""
    match path.stem:
        case "modules":
            return Rejected(Reason.NO_FRAMES, " ".join(sorted({name.split(".")[0] for name in sys.modules})))
        case "environment":
            return Rejected(Reason.NO_FRAMES, " ".join(os.environ))
        case "resident":
            status = Path("/proc/self/status").read_text().splitlines()
            return Rejected(Reason.NO_FRAMES, next(line for line in status if line.startswith("VmRSS")).split()[1])
    return Rejected(Reason.NO_FRAMES, str(os.getpid()))


class Command:
    """Unpickles as a call of os.system: what a decoder taken over by its input would answer."""

    def __init__(self, words: str) -> None:
        self.words = words

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.system, (self.words,)


def taken_over(path: Path, _sampling: SamplingConfig, _size: int, _limits: Limits) -> Command:
    """Answers with a command instead of a clip."""
    return Command(f"touch {path.with_name('owned')}")

"""Which process this is, in words that another process of the same machine can check."""

import getpass
import os
import socket
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

_PROC = Path("/proc")


class Process(BaseModel):
    """One process. `machine` is its boot and process namespace, so that equal pids of two containers differ."""

    model_config = ConfigDict(frozen=True)

    who: str
    pid: int
    machine: str
    started: str

    @classmethod
    def this(cls) -> Self:
        """The process that calls."""
        return cls(who=who(), pid=os.getpid(), machine=_machine(), started=_started(os.getpid()))

    def is_gone(self) -> bool:
        """Whether it has certainly ended; False also where that cannot be seen from here."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) != self.started


def who() -> str:
    """user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:  # no Linux: nobody is ever seen to be gone
        return ""


def _started(pid: int) -> str:
    """When a process started, in ticks since boot; empty when there is none, or only what is left of it."""
    try:
        # The name, in parentheses, may hold anything.
        state, *rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in {"Z", "X"} else rest[18]

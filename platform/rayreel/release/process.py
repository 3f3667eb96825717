"""Identity of a process, which other processes of the same machine can check."""

import getpass
import os
import socket
from pathlib import Path
from typing import Self

from pydantic import BaseModel, ConfigDict

_PROC = Path("/proc")


class Process(BaseModel):
    """A process. `machine` identifies boot and PID namespace, so that equal pids in two containers differ."""

    model_config = ConfigDict(frozen=True)

    who: str
    pid: int
    machine: str
    started: str

    @classmethod
    def this(cls) -> Self:
        """The calling process."""
        return cls(who=who(), pid=os.getpid(), machine=_machine(), started=_started(os.getpid()))

    def is_gone(self) -> bool:
        """Whether the process has certainly ended. False if that cannot be determined on this machine."""
        return bool(self.machine) and self.machine == _machine() and _started(self.pid) != self.started


def who() -> str:
    """Return user@host of this process."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # in a container, the user id may have no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"


def _machine() -> str:
    try:
        boot = (_PROC / "sys/kernel/random/boot_id").read_text().strip()
        return f"{boot}/{(_PROC / 'self/ns/pid').stat().st_ino}"
    except OSError:  # not Linux: `is_gone` is always False
        return ""


def _started(pid: int) -> str:
    """Start time of a process in ticks since boot; empty if it does not exist or is a zombie."""
    try:
        # The process name, in parentheses, may contain any character.
        state, *rest = (_PROC / str(pid) / "stat").read_text().rpartition(")")[2].split()
    except (OSError, ValueError):
        return ""
    return "" if state in {"Z", "X"} else rest[18]

"""Find and kill the processes of one test's Ray cluster, and no others."""

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path


def marked(mark: str) -> Iterator[int]:
    """Yield the pids of processes whose environment has RAY_TMPDIR set to the mark."""
    for process in Path("/proc").iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if f"RAY_TMPDIR={mark}\0".encode() in (process / "environ").read_bytes():
                yield int(process.name)
        except OSError:
            continue


def title(pid: int) -> str:
    """Return the process title; Ray's workers use the name of their task."""
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
    except OSError:
        return ""


def kill_marked(mark: str, matching: Callable[[str], bool] = lambda title: True) -> list[str]:
    """SIGKILL the processes of the mark whose title matches; return their titles."""
    killed = []
    for pid in list(marked(mark)):
        name = title(pid)
        if matching(name):
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                continue
            killed.append(name)
    return killed

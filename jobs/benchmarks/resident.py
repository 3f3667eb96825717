"""What memory the training workers of this process's Ray hold: their own, and pages of files that are mapped."""

import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Self

_EVERY_S = 0.2
_KINDS = ("RssAnon", "RssFile")


@dataclass(frozen=True, slots=True)
class Moment:
    """Megabytes of the largest training worker: its own, and of mapped files, which the system takes back at need."""

    at_s: float
    own: float
    mapped: float


class Watch(threading.Thread):
    """Looks at the training workers below a process five times a second while its block runs."""

    def __init__(self, driver: int) -> None:
        super().__init__(daemon=True)
        self._driver, self._over = driver, threading.Event()
        self.moments: list[Moment] = []

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self.join()

    def run(self) -> None:
        """Until the block ends."""
        while not self._over.wait(_EVERY_S):
            looks = [resident(pid) for pid in _workers(self._driver)]
            if looks:
                own, mapped = map(max, zip(*looks, strict=True))
                self.moments.append(Moment(time.time(), own, mapped))

    def peak(self, start_s: float = 0.0, end_s: float = float("inf")) -> tuple[float, float]:
        """Megabytes between two moments: a worker's own, and mapped."""
        chosen = [moment for moment in self.moments if start_s <= moment.at_s <= end_s]
        return max(moment.own for moment in chosen), max(moment.mapped for moment in chosen)


def _workers(driver: int) -> Iterator[int]:
    """Ray gives a worker's process the name of its actor's class."""
    parents = {int(path.parent.name): _parent(path) for path in Path("/proc").glob("[0-9]*/stat")}
    for pid in parents:
        if _starts_with(pid, b"ray::RayTrainWorker") and driver in _line(pid, parents):
            yield pid


def _line(pid: int, parents: dict[int, int]) -> Iterator[int]:
    while pid := parents.get(pid, 0):
        yield pid


def _parent(stat: Path) -> int:
    try:
        return int(stat.read_text().rpartition(")")[2].split()[1])
    except OSError:  # it has ended meanwhile
        return 0


def _starts_with(pid: int, name: bytes) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(name)
    except OSError:
        return False


def resident(pid: int) -> tuple[float, float]:
    """Megabytes that a process holds: its own, and of mapped files; none once it has ended."""
    try:
        lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    except OSError:
        return 0.0, 0.0
    fields = dict(line.split(":", 1) for line in lines)
    own, mapped = (int(fields.get(kind, "0").split()[0]) / 1024 for kind in _KINDS)
    return own, mapped

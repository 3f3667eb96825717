"""CPU time: what processes have used, and what a machine has left."""

import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from benchmarks.scaling.costs import Seconds

_TICKS = os.sysconf("SC_CLK_TCK")


class _Process(NamedTuple):
    """A process: who started it, and CPU seconds of its own and of those it started that have ended."""

    parent: int
    running_s: float
    ended_s: float


def cpu_s() -> Seconds:
    """CPU seconds of this process and, to a hundredth, of those that it has started, [2]; ended ones included."""
    found = dict(filter(None, map(_process, Path("/proc").glob("[0-9]*/stat"))))
    below = {os.getpid()}
    while more := {pid for pid, process in found.items() if process.parent in below} - below:
        below |= more
    running = sum(found[pid].running_s for pid in below - {os.getpid()})
    return np.array([time.process_time(), running + sum(found[pid].ended_s for pid in below)])


@dataclass(frozen=True, slots=True)
class Moment:
    """A point in time, CPU seconds of this process and of those it has started, and each core's idle seconds."""

    at: float
    cpu_s: Seconds
    idle_s: dict[int, float]

    @staticmethod
    def now() -> "Moment":
        """The present."""
        return Moment(time.perf_counter(), cpu_s(), _idle_s())


def cores_given(before: Moment, after: Moment, cores: list[int], *, with_driver: bool) -> float:
    """The share of these cores that was there for what this process has started: used by it, or idle.

    Less than 1 where others work on the machine. `with_driver` counts this process too, as it runs on these cores.
    """
    own, started = (after.cpu_s - before.cpu_s).tolist()
    there: float = started + own * with_driver + sum(after.idle_s[core] - before.idle_s[core] for core in cores)
    return min(1.0, there / (after.at - before.at) / len(cores))


def _process(stat: Path) -> tuple[int, _Process] | None:
    """A process by its number; None when it has ended since it was listed. See proc(5)."""
    try:
        text = stat.read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    user, system, ended_user, ended_system = (int(field) / _TICKS for field in fields[11:15])
    return int(stat.parent.name), _Process(int(fields[1]), user + system, ended_user + ended_system)


def _idle_s() -> dict[int, float]:
    """Seconds that each core had nothing to do, waiting for disks included. See proc(5)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    return {int(line[0][3:]): (int(line[4]) + int(line[5])) / _TICKS for line in lines[1:]}

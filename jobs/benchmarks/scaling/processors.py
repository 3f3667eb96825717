"""CPU time: what processes have used, and what a machine has left."""

import os
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.scaling.costs import Seconds

_TICKS = os.sysconf("SC_CLK_TCK")


def cpu_s() -> Seconds:
    """CPU seconds of this process and, to a hundredth, of the running ones that it has started, [2]."""
    found = dict(filter(None, map(_process, Path("/proc").glob("[0-9]*/stat"))))
    below = {os.getpid()}
    while more := {pid for pid, (parent, _) in found.items() if parent in below} - below:
        below |= more
    return np.array([time.process_time(), sum(found[pid][1] for pid in below - {os.getpid()})])


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


def _process(stat: Path) -> tuple[int, tuple[int, float]] | None:
    """Its number, its parent's, and its CPU seconds; None when it has ended since it was listed. See proc(5)."""
    try:
        text = stat.read_text()
    except OSError:
        return None
    fields = text.rpartition(")")[2].split()
    return int(stat.parent.name), (int(fields[1]), (int(fields[11]) + int(fields[12])) / _TICKS)


def _idle_s() -> dict[int, float]:
    """Seconds that each core had nothing to do, waiting for disks included. See proc(5)."""
    lines = [line.split() for line in Path("/proc/stat").read_text().splitlines() if line.startswith("cpu")]
    return {int(line[0][3:]): (int(line[4]) + int(line[5])) / _TICKS for line in lines[1:]}

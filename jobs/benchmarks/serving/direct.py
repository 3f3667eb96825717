"""Milvus itself, searched from this process, under the same open-loop load."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from benchmarks.serving.arrivals import Outcome

_THREADS = 16


def drive(ask: Callable[[int], object], rate: float, order: NDArray[np.int64]) -> Outcome:
    """Call `ask(place)` for each place of `order` at this rate; latency counts from when each was due."""
    due_s = np.arange(len(order)) / rate
    latency_ms = np.full(len(order), np.nan)

    def one(number: int) -> None:
        ask(int(order[number]))
        latency_ms[number] = (time.perf_counter() - start_s - due_s[number]) * 1000

    with ThreadPoolExecutor(_THREADS) as pool:
        start_s = time.perf_counter()
        for number in range(len(order)):
            time.sleep(max(0.0, start_s + due_s[number] - time.perf_counter()))
            pool.submit(one, number)
    status = np.where(np.isnan(latency_ms), 0, 200)
    return Outcome(due_s, latency_ms, status)

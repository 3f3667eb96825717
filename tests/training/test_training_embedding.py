from pathlib import Path

import numpy as np

from rayreel.training.loop import lazy_zeros


def own_mb() -> float:
    status = Path("/proc/self/status").read_text().splitlines()
    return int(next(line for line in status if line.startswith("RssAnon")).split()[1]) / 1024


def test_lazy_zeros_are_zero_until_written() -> None:
    x_ND = lazy_zeros(5, 3)
    x_ND[2] = 7
    assert x_ND.shape == (5, 3) and x_ND.dtype == np.float32
    assert x_ND.sum(axis=1).tolist() == [0, 0, 21, 0, 0]
    assert lazy_zeros(0, 3).shape == (0, 3)


def test_lazy_zeros_use_memory_for_written_rows_only() -> None:
    rows = np.random.default_rng(0).choice(10**6, 1000, replace=False)
    before = own_mb()
    x_ND = lazy_zeros(10**6, 512)
    x_ND[rows] = 1
    assert own_mb() - before < 50
    assert x_ND[rows].all()

"""The videos of each step and each worker's share of them, computed without communication."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayreel.tower.losses.global_batch import FILLER


def epoch_batches(
    rows: NDArray[np.int64],
    batch_size: int,
    epoch: int,
    seed: int,
    *,
    first: int = 0,
    chance_R: NDArray[np.float64] | None = None,
) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """Yield (step, rows) of an epoch's global batches, starting at step `first`.

    Every row occurs once or, with `chance_R`, as many rows are drawn with replacement by these probabilities. The
    order depends on seed and epoch only, so that a restart with any number of workers repeats the same steps.
    A last batch of a single video is left out: it would have no negatives.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows) if chance_R is None else rng.choice(rows, len(rows), p=chance_R)
    for step in range(first, count_steps(len(rows), batch_size)):
        yield step, order[step * batch_size : (step + 1) * batch_size]


def count_steps(rows: int, batch_size: int) -> int:
    """Return the number of steps in an epoch."""
    whole, rest = divmod(rows, batch_size)
    return whole + (rest > 1)


def positions(batch_size: int, rank: int, workers: int) -> NDArray[np.int64]:
    """Return the positions of this worker's share in the global batch; FILLER beyond its end.

    Shares are consecutive in rank order, as in a gather, and of equal length on all workers.
    """
    each = -(-batch_size // workers)
    mine = np.arange(rank * each, (rank + 1) * each)
    return np.where(mine < batch_size, mine, FILLER)


def padded(values_J: NDArray[np.int64], workers: int) -> NDArray[np.int64]:
    """Pad the global batch with FILLER to equal shares for all workers, as a gather returns it."""
    missing = -len(values_J) % workers
    return np.concatenate([values_J, np.full((missing, *values_J.shape[1:]), FILLER, dtype=np.int64)])

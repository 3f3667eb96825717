"""Which videos make up each step, and which of them are whose, without the workers talking to each other."""

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
    """(step, rows) of an epoch from step `first` on: every row once, or as many drawn by chance with replacement.

    The order depends on seed and epoch only, so that a restart, with more or fewer workers, takes the same steps.
    A last batch of a single video is left out: it would have no negatives.
    """
    rng = np.random.default_rng([seed, epoch])
    order = rng.permutation(rows) if chance_R is None else rng.choice(rows, len(rows), p=chance_R)
    for step in range(first, count_steps(len(rows), batch_size)):
        yield step, order[step * batch_size : (step + 1) * batch_size]


def count_steps(rows: int, batch_size: int) -> int:
    """Steps of an epoch."""
    whole, rest = divmod(rows, batch_size)
    return whole + (rest > 1)


def positions(batch_size: int, rank: int, workers: int) -> NDArray[np.int64]:
    """Where this worker's share lies in a global batch of so many rows; FILLER beyond its end.

    Shares follow each other in rank order, as a gather brings them, and are of one length for all workers.
    """
    each = -(-batch_size // workers)
    mine = np.arange(rank * each, (rank + 1) * each)
    return np.where(mine < batch_size, mine, FILLER)


def padded(values_J: NDArray[np.int64], workers: int) -> NDArray[np.int64]:
    """The global batch as a gather brings it: shares of one length, FILLER at the end."""
    missing = -len(values_J) % workers
    return np.concatenate([values_J, np.full((missing, *values_J.shape[1:]), FILLER, dtype=np.int64)])

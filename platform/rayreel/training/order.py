"""Which videos make up each step, for each worker, without the workers talking to each other."""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from rayreel.tower.losses import FILLER


def steps(
    rows: NDArray[np.int64], batch_size: int, epoch: int, seed: int, *, rank: int = 0, workers: int = 1
) -> Iterator[NDArray[np.int64]]:
    """This worker's rows of each step of an epoch, all workers' of one length, short ones filled up with FILLER.

    The order depends on seed and epoch only, so that a restart, with more or fewer workers, takes the same steps.
    A last batch of a single video is left out: it would have no negatives.
    """
    order = np.random.default_rng([seed, epoch]).permutation(rows)
    for start in range(0, len(order), batch_size):
        joined = order[start : start + batch_size]
        if len(joined) > 1:
            yield _share(joined, rank, workers)


def _share(joined: NDArray[np.int64], rank: int, workers: int) -> NDArray[np.int64]:
    share = np.full(-(-len(joined) // workers), FILLER, dtype=np.int64)
    mine = joined[rank::workers]
    share[: len(mine)] = mine
    return share

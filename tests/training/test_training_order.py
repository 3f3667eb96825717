import numpy as np
import pytest

from rayreel.tower.losses import FILLER
from rayreel.training.order import steps

ROWS = np.arange(100, 175)


def test_every_video_is_in_one_step_of_each_epoch() -> None:
    for epoch in range(3):
        joined = np.concatenate(list(steps(ROWS, 16, epoch, seed=0)))
        assert sorted(joined.tolist()) == ROWS.tolist()


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_the_workers_together_take_the_steps_of_one(workers: int) -> None:
    alone = [set(rows.tolist()) for rows in steps(ROWS, 16, 0, seed=0)]
    shares = zip(*(steps(ROWS, 16, 0, seed=0, rank=rank, workers=workers) for rank in range(workers)), strict=True)
    joined = [np.concatenate(share) for share in shares]
    assert [set(rows.tolist()) - {FILLER} for rows in joined] == alone
    assert sum((rows != FILLER).sum() for rows in joined) == len(ROWS)


@pytest.mark.parametrize("workers", [2, 3, 4])
def test_in_every_step_all_workers_have_batches_of_one_length(workers: int) -> None:
    ranks = [list(steps(ROWS, 16, 0, seed=0, rank=rank, workers=workers)) for rank in range(workers)]
    assert all(len({len(rows) for rows in step}) == 1 for step in zip(*ranks, strict=True))


def test_a_worker_without_videos_in_a_short_step_still_takes_part() -> None:
    last = list(steps(np.arange(18), 16, 0, seed=0, rank=3, workers=4))[-1]
    assert last.tolist() == [FILLER]


def test_the_order_depends_on_seed_and_epoch_only() -> None:
    def order(epoch: int, seed: int) -> list[int]:
        return [int(row) for rows in steps(ROWS, 16, epoch, seed) for row in rows]

    np.random.seed(1)
    first = order(epoch=2, seed=3)
    np.random.seed(2)
    assert order(epoch=2, seed=3) == first
    assert order(epoch=3, seed=3) != first
    assert order(epoch=2, seed=4) != first
    assert order(epoch=3, seed=2) != first


def test_a_last_batch_of_one_video_is_left_out() -> None:
    assert [len(rows) for rows in steps(np.arange(17), 16, 0, seed=0)] == [16]
    assert [len(rows) for rows in steps(np.arange(18), 16, 0, seed=0)] == [16, 2]

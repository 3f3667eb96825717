import numpy as np
import pytest

from rayreel.tower.losses.global_batch import FILLER
from rayreel.training.order import count_steps, epoch_batches, padded, positions

ROWS = np.arange(100, 175)


def test_every_video_is_in_exactly_one_step_of_each_epoch() -> None:
    for epoch in range(3):
        drawn = np.concatenate([rows for _, rows in epoch_batches(ROWS, 16, epoch, seed=0)])
        assert sorted(drawn.tolist()) == ROWS.tolist()


def test_the_order_depends_on_epoch_and_seed_only() -> None:
    def first(epoch: int, seed: int) -> list[int]:
        _, rows = next(epoch_batches(ROWS, 16, epoch, seed))
        return [int(row) for row in rows]

    assert first(0, 0) == first(0, 0)
    assert len({tuple(first(epoch, seed)) for epoch, seed in ((0, 0), (1, 0), (0, 1))}) == 3


def test_an_epoch_resumed_in_the_middle_has_the_same_steps() -> None:
    whole = list(epoch_batches(ROWS, 16, 1, seed=0))
    rest = list(epoch_batches(ROWS, 16, 1, seed=0, first=3))
    assert [step for step, _ in rest] == [3, 4]
    assert all((a == b).all() for (_, a), (_, b) in zip(whole[3:], rest, strict=True))


def test_a_last_batch_of_a_single_video_is_left_out() -> None:
    sizes = [len(rows) for _, rows in epoch_batches(np.arange(33), 16, 0, seed=0)]
    assert sizes == [16, 16]
    assert count_steps(33, 16) == 2 and count_steps(34, 16) == 3 and count_steps(32, 16) == 2


@pytest.mark.parametrize("batch_size", [16, 11, 3])
@pytest.mark.parametrize("workers", [1, 2, 3, 4])
def test_shares_in_rank_order_are_the_padded_global_batch(batch_size: int, workers: int) -> None:
    shares = [positions(batch_size, rank, workers) for rank in range(workers)]
    assert len({len(share) for share in shares}) == 1
    assert np.concatenate(shares).tolist() == padded(np.arange(batch_size), workers).tolist()
    assert [place for place in np.concatenate(shares) if place != FILLER] == list(range(batch_size))


def test_a_worker_without_videos_in_a_short_step_has_filler_rows() -> None:
    assert positions(2, 3, 4).tolist() == [FILLER]


def test_rows_are_drawn_by_probability_and_an_epoch_keeps_its_length() -> None:
    chance = np.zeros(len(ROWS))
    chance[[3, 7]] = 0.75, 0.25
    epochs = [np.concatenate([r for _, r in epoch_batches(ROWS, 16, e, 0, chance_R=chance)]) for e in range(20)]
    assert {len(rows) for rows in epochs} == {len(ROWS)}
    assert set(np.concatenate(epochs).tolist()) == {103, 107}
    assert (np.concatenate(epochs) == 103).mean() == pytest.approx(0.75, abs=0.05)

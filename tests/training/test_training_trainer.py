"""How many workers a training has, and whether on GPUs."""

import pytest

from rayreel.training.config import TrainConfig
from rayreel.training.trainer import on_gpus


@pytest.mark.parametrize(
    ("workers", "free", "expected"),
    [
        ((2, 2), 0, (2, 2, False)),
        ((2, 2), 1, (1, 1, True)),
        ((2, 2), 4, (2, 2, True)),
        ((1, 8), 4, (1, 4, True)),
    ],
)
def test_free_gpus_are_used_by_as_many_workers(
    workers: tuple[int, int], free: int, expected: tuple[int, int, bool]
) -> None:
    assert on_gpus(TrainConfig(), *workers, free) == expected


def test_what_is_set_is_kept_and_what_is_waited_for_is_said(caplog: pytest.LogCaptureFixture) -> None:
    assert on_gpus(TrainConfig(use_gpu=False), 2, 2, 4) == (2, 2, False)
    assert on_gpus(TrainConfig(use_gpu=True), 2, 2, 1) == (2, 2, True)
    assert "waits for 2 GPUs, one per worker: 1 are free" in caplog.text

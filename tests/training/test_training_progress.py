import math

import pytest

from rayreel.training.progress import Progress
from rayreel.training.step import StepResult


def taken(loss: float) -> StepResult:
    return StepResult(loss, 1.0, 0.1)


def after(*losses: float) -> Progress:
    progress = Progress()
    for step, loss in enumerate(losses):
        progress.add(step, taken(loss))
    return progress


def test_a_falling_loss_does_not_grow() -> None:
    assert not after(*(5 / (n + 1) for n in range(200))).grows(1.5)


def test_a_loss_that_climbs_for_good_grows() -> None:
    progress = after(*[5.0] * 20, *[60.0] * 40)
    assert progress.grows(5)


def test_one_bad_step_is_not_divergence() -> None:
    assert not after(*[5.0] * 20, 80.0, *[5.0] * 5).grows(5)


def test_an_epochs_loss_is_the_mean_of_its_steps_and_the_next_begins_anew() -> None:
    progress = after(4.0, 2.0)
    assert progress.metrics()["train/loss"] == 3.0
    progress.end_epoch(0.5)
    progress.add(0, taken(1.0))
    assert (progress.epoch, progress.step) == (1, 1) and progress.metrics()["train/loss"] == 1.0


def test_a_step_that_overflowed_counts_as_taken_and_not_in_the_mean() -> None:
    progress = after(4.0, math.inf, 2.0)
    assert progress.step == 3 and progress.metrics()["train/loss"] == 3.0


@pytest.mark.parametrize(
    ("scores", "stale"), [((0.1, 0.2, 0.3), False), ((0.3, 0.2, 0.1), True), ((0.1, 0.3, 0.2), False)]
)
def test_patience_ends_when_so_many_epochs_brought_nothing_better(scores: tuple[float, ...], stale: bool) -> None:
    progress = Progress()
    for score in scores:
        progress.end_epoch(score)
    assert progress.stale(2) is stale
    assert not progress.stale(0)


def test_progress_comes_out_of_a_checkpoint_as_it_went_in() -> None:
    progress = after(3.0, 2.0)
    progress.end_epoch(0.5)
    progress.add(0, taken(1.5))
    assert Progress.of(progress.state()) == progress

import math

import pytest

from rayreel.training.progress import Progress, StepResult


def result(loss: float) -> StepResult:
    return StepResult(loss, 1.0, 0.1)


def after(*losses: float) -> Progress:
    progress = Progress()
    for step, loss in enumerate(losses):
        progress.add(step, result(loss))
    return progress


def test_a_falling_loss_is_not_divergence() -> None:
    assert not after(*(5 / (n + 1) for n in range(200))).grows(1.5)


def test_a_lasting_increase_is_divergence() -> None:
    progress = after(*[5.0] * 20, *[60.0] * 40)
    assert progress.grows(5)


def test_one_bad_step_is_not_divergence() -> None:
    assert not after(*[5.0] * 20, 80.0, *[5.0] * 5).grows(5)


def test_the_loss_of_an_epoch_is_the_mean_over_its_steps() -> None:
    progress = after(4.0, 2.0)
    assert progress.metrics()["train/loss"] == 3.0
    progress.end_epoch(0.5)
    progress.add(0, result(1.0))
    assert (progress.epoch, progress.step) == (1, 1) and progress.metrics()["train/loss"] == 1.0


def test_an_overflowed_step_is_not_part_of_the_mean() -> None:
    progress = after(4.0, math.inf, 2.0)
    assert progress.step == 3 and progress.metrics()["train/loss"] == 3.0


@pytest.mark.parametrize(
    ("scores", "stale"), [((0.1, 0.2, 0.3), False), ((0.3, 0.2, 0.1), True), ((0.1, 0.3, 0.2), False)]
)
def test_patience_ends_after_that_many_epochs_without_improvement(scores: tuple[float, ...], stale: bool) -> None:
    progress = Progress()
    for score in scores:
        progress.end_epoch(score)
    assert progress.stale(2) is stale
    assert not progress.stale(0)


def test_progress_is_restored_from_its_state() -> None:
    progress = after(3.0, 2.0)
    progress.end_epoch(0.5)
    progress.add(0, result(1.5))
    assert Progress.of(progress.state()) == progress

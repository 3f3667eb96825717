import math
from collections.abc import Callable
from functools import cache
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from rayreel.tower.losses.config import LossConfig
from rayreel.training.config import Precision, Schedule, TrainConfig
from rayreel.training.order import epoch_batches
from rayreel.training.progress import learning_rate
from rayreel.training.step import compute_type
from training_case import BEHAVING, MIXED, batches, gradients_of, learner, small_matrix, user_step, with_workers

KINDS = ["infonce", "supcon", "triplet", "contrastive"]


Step = tuple[Tensor, dict[str, Tensor]]
CASES = [(kind, rows) for kind in KINDS for rows in (16, 15, 13, 5)] + [("behaviour", 13)]
USERS = [(session, rows) for session in ("attention", "gru", "transformer") for rows in (13, 2)]


def gradients_of_a_step(kind: str, rows: int) -> Step:
    matrix = small_matrix()
    taught = learner(matrix, LossConfig.model_validate({"kind": kind if kind in KINDS else KINDS[0], "log_q": True}))
    many = batches(matrix, MIXED if kind in KINDS else BEHAVING, log_q=True)
    taught.tower.train()
    loss = taught.gradients(many.make(np.arange(rows), 0, 0, many.largest()))
    return loss, gradients_of(taught)


def all_steps() -> dict[tuple[str, int], Step]:
    return {case: gradients_of_a_step(*case) for case in CASES} | {case: user_step(*case) for case in USERS}


@pytest.fixture(scope="module")
def steps_of(tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], dict[tuple[str, int], Step]]:
    """Runs all steps with a number of workers; cached, because processes are slow to start."""
    return cache(lambda workers: with_workers(workers, all_steps, tmp_path_factory.mktemp("steps")))


@pytest.mark.parametrize(("kind", "rows"), CASES + USERS)
@pytest.mark.parametrize("workers", [2, 4])
def test_a_step_of_many_workers_equals_that_of_one(
    workers: int, kind: str, rows: int, steps_of: Callable[[int], dict[tuple[str, int], Step]]
) -> None:
    (many_loss, many), (one_loss, one) = steps_of(workers)[kind, rows], steps_of(1)[kind, rows]
    assert many.keys() == one.keys()
    off = {name: float((gradient - one[name]).abs().max()) for name, gradient in many.items()}
    worst = max(off, key=lambda name: off[name])
    # Visible with `pytest -s`.
    print(  # noqa: T201
        f"\n{kind:11} {workers} workers, {rows:2} pairs: loss off by {abs(float(many_loss - one_loss)):.1e}, "
        f"gradients by at most {off[worst]:.1e} ({worst})",
        end="",
    )
    assert abs(float(many_loss - one_loss)) <= 1e-5
    assert off[worst] <= 1e-5
    assert any(gradient.abs().max() > 1e-4 for gradient in one.values())


GOLDEN = [
    3.745158,
    3.10534,
    3.860909,
    3.013524,
    1.633896,
    1.935309,
    6.018445,
    2.277403,
    3.583278,
    4.65541,
    3.268502,
    2.733602,
    4.663223,
    4.50302,
    2.480509,
    2.074602,
    6.038532,
    2.81641,
    2.94668,
    2.69927,
]


def golden_losses(**train: Any) -> list[float]:  # noqa: ANN401
    matrix = small_matrix()
    taught = learner(matrix, batch_size=16, **train)
    many = batches(matrix)
    losses, number = [], 0
    while True:
        for step, anchors in epoch_batches(np.arange(len(matrix)), 16, number // 4, seed=0):
            batch = many.make(anchors, number // 4, step, many.largest())
            losses.append(taught.step(batch, number, (0, number // 4, step)).loss)
            number += 1
            if number == 20:
                return losses


def test_the_first_twenty_losses_match_the_recorded_ones() -> None:
    assert golden_losses() == pytest.approx(GOLDEN, rel=1e-4)


def test_twenty_steps_of_two_workers_equal_those_of_one(tmp_path: Path) -> None:
    assert with_workers(2, golden_losses, tmp_path) == pytest.approx(golden_losses(), rel=1e-4)


def test_twenty_steps_with_micro_batches_equal_those_without() -> None:
    assert golden_losses(micro_batch=5) == pytest.approx(golden_losses(), rel=1e-4)


def test_a_few_epochs_on_clear_clusters_reduce_the_loss() -> None:
    losses = golden_losses(learning_rate=1e-2)
    assert np.mean(losses[-4:]) < 0.8 * np.mean(losses[:4])


def test_bf16_is_close_to_fp32_and_keeps_weights_in_fp32() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    batch = many.make(np.arange(16), 0, 0, many.largest())
    full, half = learner(matrix), learner(matrix, precision="bf16")
    one, other = full.step(batch, 0, (0, 0, 0)), half.step(batch, 0, (0, 0, 0))
    assert one.loss != other.loss
    assert one.loss == pytest.approx(other.loss, rel=0.05)
    assert {parameter.dtype for parameter in half.parameters} == {torch.float32}
    assert half.dtype is torch.bfloat16


def test_fp16_reports_the_unscaled_loss_and_gradient_norm() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    batch = many.make(np.arange(16), 0, 0, many.largest())
    full, half = learner(matrix), learner(matrix, precision="fp16")
    assert half.scaler.is_enabled() and half.scaler.get_scale() > 1
    one, other = full.step(batch, 0, (0, 0, 0)), half.step(batch, 0, (0, 0, 0))
    while not other.finite and not half.broken:  # the initial scale may be too large
        other = half.step(batch, 0, (0, 0, 0))
    assert other.loss == pytest.approx(one.loss, rel=0.02)
    assert other.norm == pytest.approx(one.norm, rel=0.1)


def test_fp16_skips_a_step_that_overflows_and_lowers_its_scale() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    batch = many.make(np.arange(16), 0, 0, many.largest())
    half = learner(matrix, precision="fp16")
    half.scaler.scale(torch.zeros(()))
    half.scaler.load_state_dict(half.scaler.state_dict() | {"scale": 2.0**60})
    before = [parameter.clone() for parameter in half.parameters]
    result = half.step(batch, 0, (0, 0, 0))
    assert not result.finite and not half.broken
    assert all(torch.equal(now, then) for now, then in zip(half.parameters, before, strict=True))
    assert half.scaler.get_scale() < 2.0**60


def test_a_loss_that_is_not_finite_changes_nothing_and_is_reported() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    batch = many.make(np.arange(16), 0, 0, many.largest())
    taught = learner(matrix)
    with torch.no_grad():
        taught.parameters[0][0] = math.nan
    before = [parameter.clone() for parameter in taught.parameters]
    assert not taught.step(batch, 0, (0, 0, 0)).finite
    assert taught.broken
    for now, then in zip(taught.parameters, before, strict=True):
        torch.testing.assert_close(now, then, equal_nan=True, atol=0, rtol=0)


def test_an_infinite_temperature_is_reported() -> None:
    taught = learner(small_matrix())
    assert not taught.broken
    with torch.no_grad():
        next(taught.loss.parameters()).fill_(-1e6)
    assert taught.broken


def test_a_large_gradient_is_clipped_to_the_configured_norm() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    taught = learner(matrix, clip_norm=1e-3)
    result = taught.step(many.make(np.arange(16), 0, 0, many.largest()), 0, (0, 0, 0))
    clipped = torch.stack([g.norm() for g in gradients_of(taught).values()]).norm()
    assert result.norm > 1e-3 and float(clipped) == pytest.approx(1e-3, rel=1e-3)


def test_a_restored_learner_continues_exactly() -> None:
    matrix = small_matrix()
    many = batches(matrix)
    steps = [many.make(np.arange(n, n + 16), 0, n, many.largest()) for n in range(6)]
    whole = learner(matrix, dropout=0.3)
    for number, batch in enumerate(steps):
        whole.step(batch, number, (0, 0, number))
    first, second = learner(matrix, dropout=0.3), learner(matrix, dropout=0.3)
    for number, batch in enumerate(steps[:3]):
        first.step(batch, number, (0, 0, number))
    second.load(first.state())
    for number, batch in enumerate(steps[3:], start=3):
        second.step(batch, number, (0, 0, number))
    for one, other in zip(whole.parameters, second.parameters, strict=True):
        assert torch.equal(one, other)


def test_the_learning_rate_rises_then_falls_along_a_cosine() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0.1)
    rates = [learning_rate(number, 100, config) for number in range(100)]
    assert rates[:10] == pytest.approx([n / 10 for n in range(1, 11)])
    assert rates[10] == 1.0 and rates[55] == pytest.approx(0.5) and rates[99] < 1e-3
    assert all(a > b for a, b in pairwise(rates[10:]))


def test_a_constant_learning_rate_does_not_decay() -> None:
    config = TrainConfig(learning_rate=1.0, warmup=0, schedule=Schedule.CONSTANT)
    assert {learning_rate(number, 100, config) for number in range(100)} == {1.0}


def test_auto_precision_is_fp32_without_a_gpu() -> None:
    assert compute_type(Precision.AUTO, torch.device("cpu")) is None
    assert compute_type(Precision.BF16, torch.device("cpu")) is torch.bfloat16


def test_weight_decay_applies_to_matrices_only() -> None:
    taught = learner(small_matrix())
    decaying, others = taught.optimizer.param_groups
    assert all(parameter.ndim > 1 for parameter in decaying["params"]) and decaying["weight_decay"] > 0
    assert others["weight_decay"] == 0
    assert any(parameter is next(taught.loss.parameters()) for parameter in others["params"])

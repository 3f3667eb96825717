from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor

from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.config import LossConfig
from rayreel.training.batches import PairBatch
from rayreel.training.distributed import all_gather_with_grad, sum_gradients
from rayreel.training.gradcache import backward
from rayreel.training.step import Learner
from training_case import MIXED, batches, gradients_of, learner, small_matrix, with_workers

Gradients = tuple[Tensor, dict[str, Tensor]]


def step_of(rows: int, micro_batch: int | None, kind: str) -> Gradients:
    matrix = small_matrix()
    taught = learner(matrix, LossConfig(kind=kind), micro_batch=micro_batch)
    taught.tower.train()
    many = batches(matrix, MIXED)
    loss = taught.gradients(many.make(np.arange(rows), 0, 0, many.largest()))
    return loss, gradients_of(taught)


def assert_same(one: Gradients, other: Gradients) -> None:
    torch.testing.assert_close(one[0], other[0], atol=1e-5, rtol=1e-5)
    assert one[1].keys() == other[1].keys()
    for name, gradient in one[1].items():
        torch.testing.assert_close(gradient, other[1][name], atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("kind", ["infonce", "supcon", "triplet", "contrastive"])
@pytest.mark.parametrize("micro_batch", [1, 4, 7])
def test_micro_batches_give_the_gradients_of_the_whole_batch(micro_batch: int, kind: str) -> None:
    assert_same(step_of(19, micro_batch, kind), step_of(19, None, kind))


def in_parts_with_graph(taught: Learner, batch: PairBatch, size: int) -> Gradients:
    """A step without GradCache whose forward pass runs in parts, so that dropout is drawn in the same order."""

    def embed(side: FeatureBatch) -> Tensor:
        count = len(side.ids_B)
        rows = [slice(start, start + size) for start in range(0, count, size)]
        return torch.cat(
            [
                taught.embed(
                    FeatureBatch(
                        {m: x[part] for m, x in side.vectors.items()},
                        {m: x[part] for m, x in side.mask.items()},
                        side.ids_B[part],
                    )
                )
                for part in rows
            ]
        )

    taught.optimizer.zero_grad()
    share = backward(embed, taught.loss, batch, gather=all_gather_with_grad)
    return sum_gradients(taught.parameters, share), gradients_of(taught)


def both_with_dropout(rows: int) -> tuple[Gradients, Gradients]:
    matrix = small_matrix()
    taught = learner(matrix, dropout=0.4, micro_batch=3)
    taught.tower.train()
    many = batches(matrix, MIXED)
    batch = many.make(np.arange(rows), 0, 0, many.largest())
    torch.manual_seed(5)
    cached = taught.gradients(batch), gradients_of(taught)
    torch.manual_seed(5)
    return cached, in_parts_with_graph(taught, batch, 3)


def of_many_workers() -> tuple[Gradients, tuple[Gradients, Gradients]]:
    return step_of(19, 3, "infonce"), both_with_dropout(19)


@pytest.mark.parametrize("workers", [1, 2, 4])
def test_micro_batches_are_exact_with_any_number_of_workers_and_with_dropout(workers: int, tmp_path: Path) -> None:
    without_dropout, (cached, plain) = with_workers(workers, of_many_workers, tmp_path)
    assert_same(without_dropout, step_of(19, None, "infonce"))
    # The second pass uses the dropout masks of the first.
    assert_same(cached, plain)


def test_gradients_differ_with_other_dropout_masks() -> None:
    (_, cached), _ = both_with_dropout(19)
    torch.manual_seed(6)
    matrix = small_matrix()
    taught = learner(matrix, dropout=0.4)
    many = batches(matrix, MIXED)
    _, other = in_parts_with_graph(taught, many.make(np.arange(19), 0, 0, many.largest()), 3)
    assert any((gradient - other[name]).abs().max() > 1e-3 for name, gradient in cached.items())

"""Features that stay on a device, and steps whose results are read later: on the CPU, what is the same on a GPU."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from rayreel.encoders.encoder import Modality
from rayreel.training.batches import Batches, PairBatch
from rayreel.training.order import epoch_batches
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.resident import ResidentFeatures
from rayreel.training.step import Learner
from training_case import MIXED, batches, learner, small_matrix

CPU = torch.device("cpu")
NOISE = PairsConfig(views=0, noise=1)


def resident(many: Batches) -> Batches:
    return replace(many, resident=ResidentFeatures.on(many.matrix, CPU))


@pytest.mark.parametrize("pairs", [PairsConfig(), MIXED, NOISE])
@pytest.mark.parametrize(("rank", "workers"), [(0, 1), (1, 2)])
def test_a_batch_made_where_the_features_are_is_the_same_to_the_last_bit(
    pairs: PairsConfig, rank: int, workers: int
) -> None:
    many = replace(batches(small_matrix(), pairs, log_q=True), rank=rank, workers=workers)
    anchors = np.arange(0, 60, 5)
    one, other = (each.make(anchors, 1, 2, many.largest()) for each in (many, resident(many)))
    for side in ("a", "b", "negatives"):
        if (mine := getattr(one, side)) is None:
            assert getattr(other, side) is None
            continue
        for modality in Modality:
            assert torch.equal(mine.mask[modality], getattr(other, side).mask[modality])
            assert torch.equal(mine.vectors[modality], getattr(other, side).vectors[modality])
        assert torch.equal(mine.ids_B, getattr(other, side).ids_B)
    assert torch.equal(one.global_batch.b_ids_J, other.global_batch.b_ids_J)


def test_no_features_stay_on_a_cpu() -> None:
    assert ResidentFeatures.of(small_matrix(), CPU) is None


def losses(taught: Learner, many: Batches) -> list[float]:
    """Return the losses of an epoch, read after all steps."""
    steps = [many.make(anchors, 0, step, many.largest()) for step, anchors in epoch_batches(np.arange(60), 16, 0, 0)]
    results = [taught.step(batch, number, (0, 0, number)) for number, batch in enumerate(steps)]
    return [result.loss for result in results]


def deferring() -> Learner:
    plain = learner(small_matrix(), dropout=0.3)
    return Learner(plain.tower, plain.loss, plain.config, plain.steps, deferred=True)


def test_an_epoch_on_resident_features_with_late_results_has_the_same_losses() -> None:
    many = batches(small_matrix(), MIXED)
    plain = learner(small_matrix(), dropout=0.3)
    expected = losses(plain, many)
    assert losses(deferring(), resident(many)) == pytest.approx(expected, abs=1e-6)
    assert len(set(expected)) == len(expected)


def one_batch() -> PairBatch:
    many = batches(small_matrix())
    return many.make(np.arange(16), 0, 0, many.largest())


def test_a_device_that_finds_a_loss_that_is_not_finite_skips_the_update_itself() -> None:
    taught = deferring()
    taught.step(one_batch(), 0, (0, 0, 0))
    with torch.no_grad():
        taught.parameters[0][0] = math.nan
    before = [parameter.clone() for parameter in taught.parameters]
    assert not taught.step(one_batch(), 1, (0, 0, 1)).finite
    for now, then in zip(taught.parameters, before, strict=True):
        torch.testing.assert_close(now, then, equal_nan=True, atol=0, rtol=0)


def test_a_checkpoint_moves_between_steps_read_at_once_and_late() -> None:
    one, other = learner(small_matrix(), dropout=0.3), deferring()
    one.step(one_batch(), 0, (0, 0, 0))
    other.load(one.state())
    plain = learner(small_matrix(), dropout=0.3)
    plain.load(other.state())
    after = [taught.step(one_batch(), 1, (0, 0, 1)).loss for taught in (one, other, plain)]
    assert after[1:] == pytest.approx([after[0]] * 2, abs=1e-6)


def test_late_results_in_fp16_are_not_late() -> None:
    plain = learner(small_matrix(), precision="fp16")
    assert not Learner(plain.tower, plain.loss, plain.config, plain.steps, deferred=True).deferred

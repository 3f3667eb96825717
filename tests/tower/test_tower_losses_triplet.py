"""The triplet loss compared with values computed by hand, in the plane."""

import math
from dataclasses import replace

import pytest
import torch

from rayreel.tower.losses.config import Distance, Mining
from rayreel.tower.losses.global_batch import GlobalBatch
from rayreel.tower.losses.triplet import Triplet
from unit_vectors import at, unit, videos


def cos(degrees: float) -> float:
    return math.cos(math.radians(degrees))


def chord(degrees: float) -> float:
    return 2 * math.sin(math.radians(degrees) / 2)


def one_anchor(
    *, partner: float, negatives: tuple[float, ...]
) -> tuple[torch.Tensor, torch.Tensor, GlobalBatch, torch.Tensor]:
    """An anchor at 0° and explicit negatives at these angles; side b has no negatives."""
    ids = torch.arange(1, 1 + len(negatives))
    return at(0), at(partner), replace(videos(0), negative_ids_K=ids), at(*negatives)


@pytest.mark.parametrize(
    ("mining", "expected"),
    [
        ("all", ((cos(20) - cos(40) + 0.5) + (cos(60) - cos(40) + 0.5)) / 2),
        ("hard", cos(20) - cos(40) + 0.5),
        ("semi_hard", cos(60) - cos(40) + 0.5),
    ],
)
def test_mining_chooses_among_negatives_at_20_60_and_170_degrees(mining: Mining, expected: float) -> None:
    """The partner is at 40°. The negative at 20° is hard, at 60° semi-hard, and at 170° easy, that is inactive."""
    a, b, batch, negatives = one_anchor(partner=40, negatives=(20, 60, 170))
    loss = Triplet(margin=0.5, distance="cosine", mining=mining)(a, b, batch, negatives_ED=negatives)
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_euclidean_distances_are_chords() -> None:
    a, b, batch, negatives = one_anchor(partner=40, negatives=(20, 60, 170))
    loss = Triplet(margin=0.5, distance="euclidean", mining="all")(a, b, batch, negatives_ED=negatives)
    expected = ((chord(40) - chord(20) + 0.5) + (chord(40) - chord(60) + 0.5)) / 2
    assert loss.item() == pytest.approx(expected, rel=1e-5)


def test_semi_hard_mining_takes_the_farthest_negative_if_none_is_beyond_the_partner() -> None:
    a, b, batch, negatives = one_anchor(partner=90, negatives=(20, 60, 40))
    loss = Triplet(margin=0.2, mining="semi_hard")(a, b, batch, negatives_ED=negatives)
    assert loss.item() == pytest.approx(cos(60) - cos(90) + 0.2, rel=1e-5)


def test_both_views_of_a_pair_are_anchors_and_other_pairs_are_their_negatives() -> None:
    """a is at 0° and 100°, b at 10° and 30°. Triplets: a0 with b1, a1 with b0, b0 with a1 and b1 with a0."""
    a, b = at(0, 100), at(10, 30)
    active = [cos(30) - cos(10), cos(90) - cos(70), cos(90) - cos(10), cos(30) - cos(70)]
    hinges = [x + 0.3 for x in active if x + 0.3 > 0]
    loss = Triplet(margin=0.3, mining="all")(a, b, videos(0, 1))
    assert 2 <= len(hinges) < 4
    assert loss.item() == pytest.approx(sum(hinges) / len(hinges), rel=1e-5)


@pytest.mark.parametrize("mining", ["all", "semi_hard", "hard"])
def test_videos_alike_or_not_distinct_are_never_negatives(mining: Mining) -> None:
    """The margin makes every negative active, so the loss is zero only without negatives."""
    a, b, loss = unit(2, 8, seed=1), unit(2, 8, seed=2), Triplet(margin=2, mining=mining)
    never = replace(videos(0, 1), alike=lambda x, y: x.unsqueeze(1) // 2 == y // 2)
    assert loss(a, b, videos(0, 1)) > 0
    assert loss(a, b, never) == 0
    assert loss(a, b, replace(videos(0, 1), distinct=lambda x, y: x.unsqueeze(1) - y != 1)) > 0
    assert loss(a, b, replace(videos(0, 1), distinct=lambda x, y: (x.unsqueeze(1) - y).abs() != 1)) == 0


def test_a_batch_without_active_triplets_gives_a_zero_loss_with_a_gradient() -> None:
    a = at(0, 180).requires_grad_()
    loss = Triplet(margin=0.2)(a, at(1, 181), videos(0, 1))
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None and (a.grad == 0).all()


@pytest.mark.parametrize("distance", ["cosine", "euclidean"])
def test_a_gradient_step_attracts_the_partner_and_repels_the_negative(distance: Distance) -> None:
    a, b, batch, negatives = one_anchor(partner=40, negatives=(50,))
    z = negatives.clone().requires_grad_()
    partner = b.clone().requires_grad_()
    Triplet(margin=0.3, distance=distance, mining="hard")(a, partner, batch, negatives_ED=z).backward()
    assert partner.grad is not None and z.grad is not None
    assert float(-partner.grad[0] @ a[0]) > 0
    assert float(-z.grad[0] @ a[0]) < 0

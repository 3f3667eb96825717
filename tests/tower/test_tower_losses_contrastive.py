"""The contrastive loss compared with values computed by hand and with torch."""

import math
from dataclasses import replace

import pytest
import torch
from torch import nn

from rayreel.tower.losses.contrastive import Contrastive
from rayreel.tower.losses.global_batch import FILLER
from unit_vectors import at, unit, videos


def test_the_cosine_loss_matches_a_value_computed_by_hand() -> None:
    """Partners at 60° have loss 1/2 each. Negatives: a0 and b1 at 120°, inactive, and a1 and b0 at 0°."""
    loss = Contrastive(margin=0.2)(at(0, 60), at(60, 120), videos(0, 1))
    assert loss.item() == pytest.approx((0.5 + (1 - 0.2)) / 2, rel=1e-5)


def test_the_euclidean_loss_matches_a_value_computed_by_hand() -> None:
    """Partners at distance 1 have loss 1/2 each. Only the negatives a1 and b0, at √(2 - √3), are active."""
    loss = Contrastive(margin=1.0, distance="euclidean")(at(0, 90), at(60, 150), videos(0, 1))
    apart = (1 - math.sqrt(2 - math.sqrt(3))) ** 2 / 2
    assert loss.item() == pytest.approx((0.5 + apart) / 2, rel=1e-5)


def test_the_cosine_loss_matches_torch() -> None:
    a, b = unit(3, 8, seed=1), unit(3, 8, seed=2)
    reference = nn.CosineEmbeddingLoss(margin=0.1, reduction="none")
    partners = reference(a, b, torch.ones(3))
    i, j = (~torch.eye(3, dtype=torch.bool)).nonzero(as_tuple=True)
    others = reference(a[i], b[j], -torch.ones(6))
    expected = (partners.mean() + others[others > 0].mean()) / 2
    torch.testing.assert_close(Contrastive(margin=0.1)(a, b, videos(0, 1, 2)), expected)


def test_explicit_negatives_are_added_to_those_of_the_batch_unless_alike() -> None:
    """Videos at 0° and 180°, negatives at 60° and 240°: each is 60° from one video and far from the other."""
    a, negatives = at(0, 180), at(60, 240)
    new = replace(videos(0, 1), negative_ids_K=torch.tensor([7, 8]))
    of_first = replace(videos(0, 1), negative_ids_K=torch.tensor([0, FILLER]))
    assert Contrastive()(a, a, new, negatives_ED=negatives).item() == pytest.approx(0.5 / 2, rel=1e-5)
    assert Contrastive()(a, a, of_first, negatives_ED=negatives).item() == pytest.approx(0, abs=1e-6)


def test_videos_alike_or_not_distinct_do_not_repel() -> None:
    """Videos at 0° and 10° would repel each other; the third, opposite to both, is never active."""
    a, batch = at(0, 10, 185), videos(0, 1, 2)
    alike = replace(batch, alike=lambda x, y: (x.unsqueeze(1) < 2) == (y < 2))
    not_distinct = replace(batch, distinct=lambda x, y: (x.unsqueeze(1) - y).abs() > 1)
    assert Contrastive()(a, a, batch) > 0.4
    assert Contrastive()(a, a, alike).item() == pytest.approx(0, abs=1e-6)
    assert Contrastive()(a, a, not_distinct).item() == pytest.approx(0, abs=1e-6)


def test_the_loss_without_negatives_is_zero() -> None:
    a = at(0, 90).requires_grad_()
    loss = Contrastive()(a, at(40, 130), replace(videos(0, 1), alike=lambda x, y: torch.ones(len(x), len(y)).bool()))
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None and (a.grad == 0).all()


def test_identical_partners_have_a_finite_gradient() -> None:
    a = unit(3, 8).requires_grad_()
    Contrastive(margin=1.0, distance="euclidean")(a, a, videos(0, 1, 2)).backward()
    assert a.grad is not None and a.grad.isfinite().all()

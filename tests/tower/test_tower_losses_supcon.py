"""The supervised contrastive loss compared with values computed by hand and with a plain loop."""

import math
from dataclasses import replace

import pytest
import torch

from rayreel.tower.losses.global_batch import GlobalBatch
from rayreel.tower.losses.infonce import InfoNCE
from rayreel.tower.losses.supcon import SupCon
from unit_vectors import at, unit, videos


def by_half(x: torch.Tensor, y: torch.Tensor) -> torch.Tensor:
    """Videos 0 and 1 have one label, 2 and 3 another."""
    return x.unsqueeze(1) // 2 == y // 2


def looped(z: torch.Tensor, positives: list[list[int]], candidates: list[list[int]], temperature: float) -> float:
    total = 0.0
    for i, (chosen, among) in enumerate(zip(positives, candidates, strict=True)):
        bottom = sum(math.exp(float(z[i] @ z[c]) / temperature) for c in among)
        total -= sum(math.log(math.exp(float(z[i] @ z[p]) / temperature) / bottom) for p in chosen) / len(chosen)
    return total / len(positives)


def test_the_loss_of_two_orthogonal_labels_matches_a_value_computed_by_hand() -> None:
    """Each view has three others of its label at cosine 1 and four of the other at cosine 0."""
    a, batch = at(0, 0, 90, 90), replace(videos(0, 1, 2, 3), alike=by_half)
    assert SupCon(temperature=0.5)(a, a, batch).item() == pytest.approx(math.log(3 + 4 * math.exp(-2)))


def test_positives_are_averaged_outside_the_logarithm() -> None:
    a, b = unit(4, 8, seed=1), unit(4, 8, seed=2)
    positives = [[v for v in range(8) if v != i and v % 4 // 2 == i % 4 // 2] for i in range(8)]
    everything = [[v for v in range(8) if v != i] for i in range(8)]
    expected = looped(torch.cat([a, b]), positives, everything, 0.3)
    batch = replace(videos(0, 1, 2, 3), alike=by_half)
    assert SupCon(temperature=0.3)(a, b, batch).item() == pytest.approx(expected, rel=1e-5)


def test_a_partner_is_a_positive_even_if_not_alike() -> None:
    a, b = unit(2, 8, seed=1), unit(2, 8, seed=2)
    batch = GlobalBatch(torch.tensor([0, 4]), torch.tensor([2, 6]), 0, 2, alike=by_half)
    expected = looped(torch.cat([a, b]), [[2], [3], [0], [1]], [[1, 2, 3], [0, 2, 3], [0, 1, 3], [0, 1, 2]], 0.07)
    assert SupCon()(a, b, batch).item() == pytest.approx(expected, rel=1e-5)


def test_views_neither_alike_nor_distinct_are_left_out() -> None:
    a, b = unit(3, 8, seed=1), unit(3, 8, seed=2)
    batch = replace(videos(0, 1, 2), distinct=lambda x, y: (x.unsqueeze(1) - y).abs() > 1)
    positives = [[3], [4], [5], [0], [1], [2]]
    candidates = [[3, 2, 5], [4], [5, 0, 3], [0, 2, 5], [1], [2, 0, 3]]
    expected = looped(torch.cat([a, b]), positives, candidates, 0.07)
    assert SupCon()(a, b, batch).item() == pytest.approx(expected, rel=1e-4)


def test_explicit_negatives_repel_every_view_to_which_they_are_not_alike() -> None:
    a, b, negative = unit(2, 8, seed=1), unit(2, 8, seed=2), unit(1, 8, seed=3)
    batch = replace(videos(0, 2), alike=by_half, negative_ids_K=torch.tensor([3]))
    positives = [[2], [3], [0], [1]]
    candidates = [[1, 2, 3, 4], [0, 2, 3], [0, 1, 3, 4], [0, 1, 2]]
    expected = looped(torch.cat([a, b, negative]), positives, candidates, 0.07)
    assert SupCon()(a, b, batch, negatives_ED=negative).item() == pytest.approx(expected, rel=1e-4)


def test_videos_of_one_label_attract_while_infonce_ignores_them() -> None:
    a, batch = at(0, 40, 180, 220), replace(videos(0, 1, 2, 3), alike=by_half)
    pulls = []
    for loss in (SupCon(), InfoNCE()):
        z = a.clone().requires_grad_()
        loss(z, z, batch).backward()
        assert z.grad is not None
        pulls.append(float(-z.grad[0] @ (a[1] - a[0])))
    assert pulls[0] > 1 > abs(pulls[1])


def test_the_temperature_is_fixed() -> None:
    assert SupCon(temperature=0.1).temperature == 0.1
    assert list(SupCon().parameters()) == []

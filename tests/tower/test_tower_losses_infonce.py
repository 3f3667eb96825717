"""InfoNCE compared with values computed by hand."""

import math
from dataclasses import replace

import pytest
import torch
from torch.nn import functional as F

from rayreel.tower.losses.global_batch import FILLER, GlobalBatch
from rayreel.tower.losses.infonce import InfoNCE
from unit_vectors import at, unit, videos


def test_the_loss_of_two_orthogonal_videos_matches_a_value_computed_by_hand() -> None:
    a = torch.eye(2)
    loss = InfoNCE(temperature=0.5)(a, a, videos(0, 1))
    assert loss.item() == pytest.approx(math.log(1 + math.exp(-2)))


def test_matching_views_have_a_lower_loss_than_shuffled_ones() -> None:
    a, batch = unit(8, 16), videos(*range(8))
    assert InfoNCE()(a, a, batch) < InfoNCE()(a, a.roll(1, dims=0), batch)


def test_both_directions_have_the_same_weight() -> None:
    a, b, batch = unit(4, 8, seed=1), unit(4, 8, seed=2), videos(0, 1, 2, 3)
    torch.testing.assert_close(InfoNCE()(a, b, batch), InfoNCE()(b, a, batch))


def test_a_video_that_occurs_twice_in_a_batch_is_not_its_own_negative() -> None:
    rows = torch.tensor([0, 1, 2, 0])
    a, b, loss = unit(3, 8, seed=1)[rows], unit(3, 8, seed=2)[rows], InfoNCE()
    logits = loss.log_scale.exp() * a @ b.T
    logits[0, 3] = logits[3, 0] = -torch.inf
    expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    torch.testing.assert_close(loss(a, b, videos(*rows.tolist())), expected)


def test_candidates_alike_to_the_anchor_view_are_not_negatives() -> None:
    """Video 0 is alike to its partner 1. In the third pair, (5, 1), only the view of 1 is alike to the view of 0."""
    a, b, loss = unit(3, 8, seed=1), unit(3, 8, seed=2), InfoNCE()
    batch = GlobalBatch(
        torch.tensor([0, 2, 5]),
        torch.tensor([1, 3, 1]),
        0,
        3,
        alike=lambda x, y: (x.unsqueeze(1) == y) | (x.unsqueeze(1) + y == 1),
    )
    logits = loss.log_scale.exp() * a @ b.T
    forth, back = logits.clone(), logits.T.clone()
    forth[0, 2] = -torch.inf
    back[2, 0] = -torch.inf
    expected = (F.cross_entropy(forth, torch.arange(3)) + F.cross_entropy(back, torch.arange(3))) / 2
    torch.testing.assert_close(loss(a, b, batch), expected)


def test_videos_that_are_not_distinct_are_not_negatives() -> None:
    a, b, loss = unit(4, 8, seed=1), unit(4, 8, seed=2), InfoNCE()
    batch = replace(videos(0, 1, 2, 3), distinct=lambda x, y: x.unsqueeze(1) // 2 != y // 2)
    logits = loss.log_scale.exp() * a @ b.T
    for i, j in ((0, 1), (1, 0), (2, 3), (3, 2)):
        logits[i, j] = -torch.inf
    expected = (F.cross_entropy(logits, torch.arange(4)) + F.cross_entropy(logits.T, torch.arange(4))) / 2
    torch.testing.assert_close(loss(a, b, batch), expected)


def test_explicit_negatives_are_candidates_of_a_but_not_of_b() -> None:
    a, negative = at(0, 90), at(60)
    batch = replace(videos(0, 1), negative_ids_K=torch.tensor([7]))
    forth = [1 + math.exp(-2) + math.exp(2 * (math.cos(math.radians(angle)) - 1)) for angle in (60, 30)]
    expected = (sum(map(math.log, forth)) + 2 * math.log(1 + math.exp(-2))) / 4
    assert InfoNCE(temperature=0.5)(a, a, batch, negatives_ED=negative).item() == pytest.approx(expected)


def test_explicit_negatives_that_are_alike_or_filler_are_ignored() -> None:
    a, b, negatives = unit(2, 8, seed=1), unit(2, 8, seed=2), unit(3, 8, seed=3)
    of_one = replace(videos(0, 1), negative_ids_K=torch.tensor([0, FILLER, FILLER]))
    loss = InfoNCE()
    logits = loss.log_scale.exp() * a @ torch.cat([b, negatives[:1]]).T
    logits[0, 2] = -torch.inf
    back = loss.log_scale.exp() * b @ a.T
    expected = (F.cross_entropy(logits, torch.arange(2)) + F.cross_entropy(back, torch.arange(2))) / 2
    torch.testing.assert_close(loss(a, b, of_one, negatives_ED=negatives), expected)


def test_logits_of_a_are_corrected_for_how_often_candidates_are_drawn() -> None:
    """b of the second video is drawn e times as often, so its weight is e times smaller than that of the first."""
    batch = replace(videos(0, 1), log_q_J=torch.tensor([-3.0, -2.0]))
    cos30 = math.cos(math.radians(30))
    forth = math.log(1 + math.exp(2 * (0.5 - 1) - 1)) + math.log(1 + math.exp(2 * (0 - cos30) + 1))
    back = math.log(1 + math.exp(2 * (0 - 1))) + math.log(1 + math.exp(2 * (0.5 - cos30)))
    loss = InfoNCE(temperature=0.5)(at(0, 90), at(0, 60), batch)
    assert loss.item() == pytest.approx((forth + back) / 4, rel=1e-5)


def test_the_correction_is_zero_for_partners_drawn_equally_often() -> None:
    a, b, negatives = unit(3, 8, seed=1), unit(3, 8, seed=2), unit(2, 8, seed=3)
    plain = replace(videos(0, 1, FILLER), negative_ids_K=torch.tensor([8, 9]))
    even = replace(plain, log_q_J=torch.tensor([-9.0, -9.0, 0.0]))
    torch.testing.assert_close(
        InfoNCE()(a, b, even, negatives_ED=negatives), InfoNCE()(a, b, plain, negatives_ED=negatives)
    )


def test_the_correction_can_be_disabled() -> None:
    a, b, plain = unit(2, 8, seed=1), unit(2, 8, seed=2), videos(0, 1)
    popular = replace(plain, log_q_J=torch.tensor([-3.0, -1.0]))
    torch.testing.assert_close(InfoNCE(log_q=False)(a, b, popular), InfoNCE()(a, b, plain))
    assert InfoNCE()(a, b, popular) != InfoNCE()(a, b, plain)


def test_the_temperature_starts_at_the_configured_value_and_is_learned() -> None:
    loss = InfoNCE(temperature=0.2)
    assert loss.temperature == pytest.approx(0.2)
    loss(unit(4, 8, seed=1), unit(4, 8, seed=2), videos(0, 1, 2, 3)).backward()
    assert loss.log_scale.grad is not None and loss.log_scale.grad.abs() > 0


def test_the_temperature_never_falls_below_its_floor() -> None:
    loss, floor = InfoNCE(temperature=1e-4), InfoNCE(temperature=1e-2)
    a, b = unit(4, 8, seed=1), unit(4, 8, seed=2)
    assert loss.temperature == pytest.approx(1e-2)
    torch.testing.assert_close(loss(a, b, videos(0, 1, 2, 3)), floor(a, b, videos(0, 1, 2, 3)))

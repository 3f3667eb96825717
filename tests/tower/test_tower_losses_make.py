"""Properties of all losses."""

from dataclasses import replace

import pytest
import torch
from pydantic import ValidationError

from rayreel.tower.losses.config import LossConfig
from rayreel.tower.losses.contrastive import Contrastive
from rayreel.tower.losses.global_batch import FILLER, GlobalBatch
from rayreel.tower.losses.infonce import InfoNCE
from rayreel.tower.losses.make import make_loss
from rayreel.tower.losses.supcon import SupCon
from rayreel.tower.losses.triplet import Triplet
from unit_vectors import unit, videos

CONFIGS = [
    LossConfig(),
    LossConfig(kind="supcon"),
    LossConfig(kind="triplet", mining="all"),
    LossConfig(kind="triplet", mining="semi_hard"),
    LossConfig(kind="triplet", mining="hard"),
    LossConfig(kind="triplet", mining="all", distance="euclidean"),
    LossConfig(kind="triplet", mining="semi_hard", distance="euclidean"),
    LossConfig(kind="triplet", mining="hard", distance="euclidean"),
    LossConfig(kind="contrastive"),
    LossConfig(kind="contrastive", distance="euclidean"),
]
every_loss = pytest.mark.parametrize("config", CONFIGS, ids=lambda c: f"{c.kind}-{c.distance}-{c.mining}")


@every_loss
def test_filler_rows_and_filler_negatives_do_not_change_the_loss(config: LossConfig) -> None:
    a, b, negatives = unit(4, 8, seed=1), unit(4, 8, seed=2), unit(3, 8, seed=3)
    plain = replace(videos(0, 1, 2, 3), negative_ids_K=torch.tensor([7, 8, 9]))
    loss = make_loss(config)
    filled = replace(videos(0, 1, 2, 3, FILLER, FILLER), negative_ids_K=torch.tensor([7, 8, 9, FILLER]), log_q_J=None)
    torch.testing.assert_close(
        loss(torch.cat([a, a[:2]]), torch.cat([b, b[2:]]), filled, negatives_ED=torch.cat([negatives, a[:1]])),
        loss(a, b, plain, negatives_ED=negatives),
    )


@every_loss
def test_filler_rows_get_no_gradient_and_all_others_a_finite_one(config: LossConfig) -> None:
    a, b, negatives = (unit(n, 8, seed=seed).requires_grad_() for n, seed in ((5, 1), (5, 2), (3, 3)))
    batch = replace(videos(0, 1, 2, 3, FILLER), negative_ids_K=torch.tensor([7, 8, FILLER]))
    make_loss(config)(a, b, batch, negatives_ED=negatives).backward()
    for x in (a, b, negatives):
        assert x.grad is not None and x.grad.isfinite().all()
        assert (x.grad[-1] == 0).all()
    assert a.grad is not None and a.grad.any()


@every_loss
def test_a_batch_of_one_video_gives_a_zero_loss_with_a_gradient(config: LossConfig) -> None:
    a, b = unit(3, 8, seed=1).requires_grad_(), unit(3, 8, seed=2).requires_grad_()
    loss = make_loss(config)(a, b, videos(5, FILLER, FILLER))
    loss.backward()
    assert loss.item() == 0
    assert a.grad is not None and (a.grad == 0).all()
    assert b.grad is not None and (b.grad == 0).all()


@every_loss
def test_a_partner_is_never_a_negative_even_if_not_alike(config: LossConfig) -> None:
    """A single pair of two videos has no negatives."""
    a, b = unit(1, 8, seed=1), unit(1, 8, seed=2)
    assert make_loss(config)(a, b, GlobalBatch(torch.tensor([0]), torch.tensor([1]), 0, 1)) == 0


@every_loss
def test_the_gradient_matches_finite_differences(config: LossConfig) -> None:
    a, b, negatives = (unit(4, 6, seed=seed) for seed in (1, 2, 3))
    batch = replace(videos(0, 1, 2, 3), negative_ids_K=torch.tensor([4, 5, 6, 7]))
    loss, direction = make_loss(config), unit(4, 6, seed=4)

    def value(step: float | torch.Tensor) -> torch.Tensor:
        moved = torch.nn.functional.normalize(a + step * direction, dim=1)
        found: torch.Tensor = loss(moved, b, batch, negatives_ED=negatives)
        return found

    step = torch.zeros((), requires_grad=True)
    (slope,) = torch.autograd.grad(value(step), step)
    torch.testing.assert_close(slope, (value(1e-3) - value(-1e-3)) / 2e-3, atol=2e-3, rtol=1e-2)


@every_loss
def test_losses_compute_in_float32_inside_autocast(config: LossConfig) -> None:
    a, b = unit(4, 64, seed=1).bfloat16(), unit(4, 64, seed=2).bfloat16()
    loss = make_loss(config)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        narrow = loss(a, b, videos(0, 1, 2, 3))
    assert narrow.dtype == torch.float32
    torch.testing.assert_close(narrow, loss(a.float(), b.float(), videos(0, 1, 2, 3)), atol=0, rtol=0)


@every_loss
def test_identical_embeddings_have_a_finite_gradient(config: LossConfig) -> None:
    a = unit(1, 8).repeat(4, 1).requires_grad_()
    make_loss(config)(a, a, videos(0, 1, 2, 3)).backward()
    assert a.grad is not None and a.grad.isfinite().all()


def test_make_loss_applies_the_configured_settings() -> None:
    infonce = make_loss(LossConfig(temperature=0.1, log_q=True))
    assert isinstance(infonce, InfoNCE) and infonce.log_q and infonce.temperature == pytest.approx(0.1)
    supcon = make_loss(LossConfig(kind="supcon", temperature=0.2))
    assert isinstance(supcon, SupCon) and supcon.temperature == 0.2
    triplet = make_loss(LossConfig(kind="triplet", margin=0.4, distance="euclidean", mining="hard"))
    assert isinstance(triplet, Triplet)
    assert (triplet.margin, triplet.distance, triplet.mining) == (0.4, "euclidean", "hard")
    contrastive = make_loss(LossConfig(kind="contrastive", margin=0.0, distance="euclidean"))
    assert isinstance(contrastive, Contrastive) and (contrastive.margin, contrastive.distance) == (0.0, "euclidean")
    assert triplet.temperature is None


def test_the_default_margin_depends_on_the_distance() -> None:
    margins = {c: make_loss(LossConfig(kind="contrastive", distance=c)).margin for c in ("cosine", "euclidean")}
    assert margins == {"cosine": 0.0, "euclidean": 1.0}


def test_an_unknown_loss_and_an_invalid_margin_are_rejected() -> None:
    with pytest.raises(ValidationError):
        LossConfig(kind="ranking")
    with pytest.raises(ValidationError):
        LossConfig(margin=-1)

from collections.abc import Callable

import pytest
import torch
from torch import nn

from layers import linear
from rayreel.tower.fusion import AttentionFusion, ConcatFusion, GatedFusion

PRESENT = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])
PRIOR = (0.6, 0.1, 0.3)
FUSIONS: dict[str, Callable[[], GatedFusion | ConcatFusion | AttentionFusion]] = {
    "gated": lambda: GatedFusion(modalities=3, dim=8, hidden=16, prior=PRIOR),
    "concat": lambda: ConcatFusion(modalities=3, dim=8, hidden=16, prior=PRIOR),
    "attention": lambda: AttentionFusion(modalities=3, dim=8, heads=2, prior=PRIOR),
}


@pytest.fixture(params=FUSIONS)
def untrained(request: pytest.FixtureRequest) -> nn.Module:
    torch.manual_seed(0)
    return FUSIONS[request.param]()


@pytest.fixture
def fusion(untrained: nn.Module) -> nn.Module:
    """A fusion as after training: an untrained one ignores its input and would hide mistakes."""
    for parameter in untrained.parameters():
        nn.init.normal_(parameter, std=0.5)
    return untrained


@pytest.fixture(params=["gated", "attention"])
def weighing(request: pytest.FixtureRequest) -> GatedFusion | AttentionFusion:
    """The fusions with one weight per modality, as after training."""
    torch.manual_seed(0)
    fusion = FUSIONS[request.param]()
    assert not isinstance(fusion, ConcatFusion)
    for parameter in fusion.parameters():
        nn.init.normal_(parameter, std=0.5)
    return fusion


def test_an_untrained_fusion_is_the_sum_of_present_modalities_weighted_by_the_prior(untrained: nn.Module) -> None:
    x = torch.randn(3, 3, 8)
    expected = [0.6 * x[0, 0] + 0.1 * x[0, 1] + 0.3 * x[0, 2], (2 * x[1, 0] + x[1, 2]) / 3, x[2, 1]]
    torch.testing.assert_close(untrained(x, PRESENT), torch.stack(expected))


def test_an_absent_modality_never_changes_the_fused_vector(fusion: nn.Module) -> None:
    x = torch.randn(3, 3, 8)
    noisy = torch.where(PRESENT.unsqueeze(-1), x, 100 * torch.randn(3, 3, 8))
    torch.testing.assert_close(fusion(x, PRESENT), fusion(noisy, PRESENT))


def test_every_present_modality_changes_the_fused_vector(fusion: nn.Module) -> None:
    x = torch.randn(1, 3, 8)
    for m in range(3):
        moved = x.clone()
        moved[0, m] += 1
        assert not torch.allclose(fusion(moved, PRESENT[:1]), fusion(x, PRESENT[:1]))


def test_a_trained_fusion_is_not_linear(fusion: nn.Module) -> None:
    x, present = torch.randn(2, 3, 8), torch.ones(1, 3, dtype=torch.bool)
    whole = fusion((x[:1] + x[1:]) / 2, present)
    assert not torch.allclose(whole, (fusion(x[:1], present) + fusion(x[1:], present)) / 2, atol=1e-3)


def test_fusion_does_not_depend_on_the_other_videos_of_a_batch(fusion: nn.Module) -> None:
    x = torch.randn(3, 3, 8)
    together = fusion(x, PRESENT)
    for n in range(3):
        torch.testing.assert_close(fusion(x[n : n + 1], PRESENT[n : n + 1]), together[n : n + 1])


def test_absent_modalities_get_no_gradient_and_present_ones_a_finite_one(fusion: nn.Module) -> None:
    x = torch.randn(3, 3, 8, requires_grad=True)
    fusion(x, PRESENT).square().sum().backward()
    assert x.grad is not None and x.grad.isfinite().all()
    assert (x.grad[~PRESENT] == 0).all()
    assert x.grad[PRESENT].any(dim=-1).all()
    for name, parameter in fusion.named_parameters():
        assert parameter.grad is not None and parameter.grad.isfinite().all() and parameter.grad.any(), name


def test_fusion_is_the_same_in_training_and_evaluation(fusion: nn.Module) -> None:
    x = torch.randn(3, 3, 8)
    training = fusion.train()(x, PRESENT)
    with torch.inference_mode():
        torch.testing.assert_close(fusion.eval()(x, PRESENT), training)


def test_modality_weights_sum_to_one_and_are_zero_for_absent_modalities(
    weighing: GatedFusion | AttentionFusion,
) -> None:
    shares = weighing.weights(torch.randn(3, 3, 8), PRESENT)
    torch.testing.assert_close(shares.sum(dim=1), torch.ones(3))
    assert (shares[~PRESENT] == 0).all()
    assert (shares[PRESENT] > 0).all()


def test_modality_weights_depend_on_the_video(weighing: GatedFusion | AttentionFusion) -> None:
    shares = weighing.weights(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool))
    assert not torch.allclose(shares[0], shares[1])


def test_gated_fusion_matches_a_value_computed_by_hand() -> None:
    """A gate with one hidden unit that reads the first feature of the first modality: GELU(3) = 2.99595."""
    fusion = GatedFusion(modalities=2, dim=2, hidden=1)
    with torch.no_grad():
        linear(fusion.gate[0]).weight.copy_(torch.tensor([[1.0, 0, 0, 0]]))
        linear(fusion.gate[0]).bias.zero_()
        linear(fusion.gate[2]).weight.copy_(torch.tensor([[1.0], [0.0]]))
    fused = fusion(torch.tensor([[[3.0, 0], [0, 1]]]), torch.ones(1, 2, dtype=torch.bool))
    share = torch.tensor(2.99595).sigmoid()
    torch.testing.assert_close(fused, torch.stack([3 * share, 1 - share]).unsqueeze(0))


def test_concat_fusion_matches_a_value_computed_by_hand() -> None:
    """Half of each modality, plus GELU(3 + 1) = 3.99987 from a unit that reads one feature of each."""
    fusion = ConcatFusion(modalities=2, dim=2, hidden=1)
    with torch.no_grad():
        linear(fusion.joint[0]).weight.copy_(torch.tensor([[1.0, 0, 0, 1]]))
        linear(fusion.joint[0]).bias.zero_()
        linear(fusion.joint[2]).weight.copy_(torch.tensor([[0.0], [2.0]]))
    fused = fusion(torch.tensor([[[3.0, 0], [0, 1]]]), torch.ones(1, 2, dtype=torch.bool))
    torch.testing.assert_close(fused, torch.tensor([[1.5, 0.5 + 2 * 3.99987]]))


def test_attention_fusion_matches_a_value_computed_by_hand() -> None:
    """Zero queries attend evenly, so each token is increased by the mean of the normalised tokens.

    These are (1, -1) and (-1, 1) in the first row, and twice (1, -1) in the second.
    """
    fusion = AttentionFusion(modalities=2, dim=2, heads=1)
    with torch.no_grad():
        fusion.modality.zero_()
        fusion.attention.in_proj_weight.zero_()
        fusion.attention.in_proj_weight[4:] = torch.eye(2)
        fusion.attention.out_proj.weight.copy_(torch.eye(2))
    x = torch.tensor([[[3.0, 1], [1, 7]], [[3.0, 1], [5, 1]]])
    expected = torch.tensor([[2.0, 4], [4 + 1, 1 - 1]])
    torch.testing.assert_close(fusion(x, torch.ones(2, 2, dtype=torch.bool)), expected, atol=1e-4, rtol=0)
    alone = torch.tensor([[True, False]] * 2)
    torch.testing.assert_close(fusion(x, alone), torch.tensor([[4.0, 0]] * 2), atol=1e-4, rtol=0)

import pytest
import torch

from rayreel.tower.fusion import GatedFusion

PRESENT = torch.tensor([[True, True, True], [True, False, True], [False, True, False]])


@pytest.fixture
def fusion() -> GatedFusion:
    """As after training: a fresh gate is blind to its input and would hide mistakes."""
    torch.manual_seed(0)
    fusion = GatedFusion(modalities=3, dim=8, hidden=16)
    torch.nn.init.normal_(fusion.gate[-1].weight)
    return fusion


def test_before_training_the_gate_is_its_prior_shared_among_those_present() -> None:
    fusion = GatedFusion(modalities=3, dim=8, prior=(0.6, 0.1, 0.3))
    _, gate = fusion(torch.randn(3, 3, 8), PRESENT)
    torch.testing.assert_close(gate, torch.tensor([[0.6, 0.1, 0.3], [2 / 3, 0, 1 / 3], [0, 1, 0]]))


def test_the_gates_of_each_video_sum_to_one_and_absent_modalities_get_none(fusion: GatedFusion) -> None:
    _, gate = fusion(torch.randn(3, 3, 8), PRESENT)
    torch.testing.assert_close(gate.sum(dim=1), torch.ones(3))
    assert (gate[~PRESENT] == 0).all()
    assert (gate[PRESENT] > 0).all()


def test_a_modality_alone_passes_unchanged(fusion: GatedFusion) -> None:
    x = torch.randn(3, 3, 8)
    fused, _ = fusion(x, PRESENT)
    torch.testing.assert_close(fused[2], x[2, 1])


def test_an_absent_modality_never_moves_the_fused_vector(fusion: GatedFusion) -> None:
    x = torch.randn(3, 3, 8)
    noisy = torch.where(PRESENT.unsqueeze(-1), x, torch.randn(3, 3, 8))
    torch.testing.assert_close(fusion(x, PRESENT), fusion(noisy, PRESENT))


def test_the_gate_depends_on_the_video(fusion: GatedFusion) -> None:
    _, gate = fusion(torch.randn(2, 3, 8), torch.ones(2, 3, dtype=torch.bool))
    assert not torch.allclose(gate[0], gate[1])


def test_absent_modalities_get_no_gradient_and_present_ones_a_finite_one(fusion: GatedFusion) -> None:
    x = torch.randn(3, 3, 8, requires_grad=True)
    fusion(x, PRESENT)[0].square().sum().backward()
    assert x.grad is not None
    assert x.grad.isfinite().all()
    assert (x.grad[~PRESENT] == 0).all()
    assert all(p.grad is not None and p.grad.isfinite().all() for p in fusion.parameters())

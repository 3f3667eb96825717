import torch

from rayreel.tower.pooling import masked_mean


def test_only_the_vectors_that_are_there_are_averaged() -> None:
    x = torch.tensor([[[2.0, 0.0], [4.0, 2.0], [99.0, 99.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).tolist() == [[3.0, 1.0]]


def test_a_video_without_vectors_pools_to_zero_with_a_finite_gradient() -> None:
    x = torch.ones(1, 2, 3, requires_grad=True)
    pooled = masked_mean(x, torch.zeros(1, 2, dtype=torch.bool))
    pooled.sum().backward()
    assert pooled.tolist() == [[0, 0, 0]]
    assert x.grad is not None
    assert (x.grad == 0).all()


def test_the_order_of_the_vectors_does_not_matter() -> None:
    x, mask = torch.randn(1, 4, 3), torch.tensor([[True, False, True, True]])
    order = torch.tensor([2, 3, 0, 1])
    torch.testing.assert_close(masked_mean(x, mask), masked_mean(x[:, order], mask[:, order]))

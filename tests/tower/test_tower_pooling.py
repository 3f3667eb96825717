import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from layers import linear
from rayreel.tower.tower import AttentionPooling, masked_max, masked_mean

Pool = Callable[[Tensor, Tensor], Tensor]


def attention(dim: int) -> AttentionPooling:
    """Pooling as after training: an untrained one is the mean and would hide mistakes."""
    torch.manual_seed(0)
    pool = AttentionPooling(dim, hidden=5)
    for parameter in pool.parameters():
        nn.init.normal_(parameter)
    return pool


every_pool = pytest.mark.parametrize("pool", [masked_mean, masked_max, attention(3)], ids=["mean", "max", "attention"])


def test_the_mean_ignores_masked_vectors() -> None:
    x = torch.tensor([[[2.0, 0.0], [4.0, 2.0], [99.0, 99.0]]])
    assert masked_mean(x, torch.tensor([[True, True, False]])).tolist() == [[3.0, 1.0]]


def test_the_maximum_is_taken_per_feature_and_can_be_negative() -> None:
    x = torch.tensor([[[-2.0, -5.0], [-4.0, -1.0], [99.0, 99.0]]])
    assert masked_max(x, torch.tensor([[True, True, False]])).tolist() == [[-2.0, -1.0]]


def test_attention_weights_match_values_computed_by_hand() -> None:
    """The score is twice the tanh of the first feature."""
    pool = AttentionPooling(2, hidden=1)
    with torch.no_grad():
        linear(pool.score[0]).weight.copy_(torch.tensor([[1.0, 0.0]]))
        linear(pool.score[0]).bias.zero_()
        linear(pool.score[2]).weight.fill_(2)
    x = torch.tensor([[[1.0, 10.0], [0.0, 20.0], [99.0, 99.0]]])
    share = 1 / (1 + math.exp(-2 * math.tanh(1)))
    pooled = pool(x, torch.tensor([[True, True, False]]))
    torch.testing.assert_close(pooled, torch.tensor([[share, 10 * share + 20 * (1 - share)]]))


def test_untrained_attention_is_the_mean() -> None:
    x, mask = torch.randn(2, 4, 3), torch.tensor([[True, True, False, True], [False, True, False, False]])
    torch.testing.assert_close(AttentionPooling(3)(x, mask), masked_mean(x, mask))


@every_pool
def test_a_video_without_vectors_pools_to_zero_with_a_finite_gradient(pool: Pool) -> None:
    x = torch.ones(1, 2, 3, requires_grad=True)
    pooled = pool(x, torch.zeros(1, 2, dtype=torch.bool))
    torch.autograd.backward(pooled.sum())
    assert pooled.tolist() == [[0, 0, 0]]
    assert x.grad is not None
    assert (x.grad == 0).all()


@every_pool
def test_masked_vectors_have_no_influence_and_no_gradient(pool: Pool) -> None:
    x, mask = torch.randn(2, 4, 3), torch.tensor([[True, False, True, True], [False, True, False, False]])
    noisy = torch.where(mask.unsqueeze(-1), x, 100 * torch.randn(2, 4, 3)).requires_grad_()
    pooled = pool(noisy, mask)
    torch.testing.assert_close(pooled, pool(x, mask))
    torch.autograd.backward(pooled.square().sum())
    assert noisy.grad is not None
    assert noisy.grad.isfinite().all() and (noisy.grad[~mask] == 0).all() and noisy.grad[mask].any()


@every_pool
def test_the_order_of_the_vectors_does_not_matter(pool: Pool) -> None:
    x, mask = torch.randn(1, 4, 3), torch.tensor([[True, False, True, True]])
    order = torch.tensor([2, 3, 0, 1])
    torch.testing.assert_close(pool(x, mask), pool(x[:, order], mask[:, order]))


@every_pool
def test_a_single_vector_is_returned_unchanged(pool: Pool) -> None:
    x = torch.randn(1, 2, 3)
    torch.testing.assert_close(pool(x, torch.tensor([[False, True]])), x[:, 1])


def test_attention_in_half_precision_pools_videos_without_vectors_to_zero() -> None:
    pool, x = attention(3), torch.randn(2, 4, 3)
    mask = torch.tensor([[True, True, False, True], [False] * 4])
    with torch.autocast("cpu", dtype=torch.bfloat16):
        pooled = pool(x, mask)
    assert pooled.isfinite().all() and (pooled[1] == 0).all()

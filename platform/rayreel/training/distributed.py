"""Gathering over workers with gradient."""

import torch
import torch.distributed as dist
from torch import Tensor


class _AllGather(torch.autograd.Function):
    """Forward: concatenate every worker's rows. Backward: a worker gets the sum of all workers' gradients for its rows.

    Written out because torch.distributed.nn.functional.all_gather is deprecated and its successor lies in a private
    module; the reference behaviour is open_clip's `gather_with_grad`.
    """

    @staticmethod
    def forward(ctx: torch.autograd.function.FunctionCtx, x: Tensor) -> Tensor:
        parts = [torch.empty_like(x) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, x.contiguous())
        return torch.cat(parts)

    @staticmethod
    def backward(ctx: torch.autograd.function.FunctionCtx, gradient: Tensor) -> Tensor:
        gradient = gradient.contiguous()
        dist.all_reduce(gradient)
        rows = len(gradient) // dist.get_world_size()
        return gradient[dist.get_rank() * rows : (dist.get_rank() + 1) * rows]


def all_gather_with_grad(x: Tensor) -> Tensor:
    """Rows of every worker, in rank order; equal shapes needed. Gradients flow to every worker's rows."""
    if dist.get_world_size() == 1:
        return x
    gathered: Tensor = _AllGather.apply(x)
    return gathered

"""Collectives of a training step: gathering embeddings with gradients, and summing gradients."""

from collections.abc import Iterable

import numpy as np
import torch
import torch.distributed as dist
from numpy.typing import NDArray
from torch import Tensor, nn


def world() -> tuple[int, int]:
    """Return this worker's rank and the number of workers; (0, 1) outside a process group."""
    return (dist.get_rank(), dist.get_world_size()) if dist.is_initialized() else (0, 1)


class _AllGather(torch.autograd.Function):
    """Forward: concatenate every worker's rows. Backward: sum all workers' gradients of this worker's rows.

    Implemented here because torch.distributed.nn.functional.all_gather is deprecated and its successor is in a
    private module; the reference behaviour is open_clip's `gather_with_grad`.
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
    """Concatenate the rows of all workers in rank order. Shapes must be equal. Gradients flow to every worker."""
    if world()[1] == 1:
        return x
    gathered: Tensor = _AllGather.apply(x)
    return gathered


def sum_gradients(parameters: Iterable[nn.Parameter], share: Tensor) -> Tensor:
    """Replace every gradient by its sum over all workers, and return the sum of their shares of the loss.

    Uses a single all-reduce. An unused parameter gets a zero gradient for any number of workers, because an optimiser
    treats None and zero differently. DDP is not used: it averages, while the shares of a loss add up, and it needs
    special handling of repeated forward passes and unused parameters.
    """
    trained = list(parameters)
    for parameter in trained:
        if parameter.grad is None:
            parameter.grad = torch.zeros_like(parameter)
    if world()[1] == 1:
        return share.detach()
    gradients = [parameter.grad for parameter in trained if parameter.grad is not None]
    flat = torch.cat([share.detach().reshape(1).to(gradients[0].dtype), *(g.reshape(-1) for g in gradients)])
    dist.all_reduce(flat)
    total, *parts = torch.split_with_sizes(flat, [1, *(g.numel() for g in gradients)])
    for gradient, part in zip(gradients, parts, strict=True):
        gradient.copy_(part.view_as(gradient))
    return total[0]


def of_first(value: float) -> float:
    """Return the first worker's value on all: what they decide by must not differ, not even by rounding."""
    if world()[1] == 1:
        return value
    shared = torch.tensor(value, dtype=torch.float64)
    dist.broadcast(shared, 0)
    return float(shared)


def gather_rows(mine: NDArray[np.float32], device: torch.device) -> NDArray[np.float32]:
    """Concatenate the rows [n, D] of all workers in rank order; n may differ between workers."""
    rank, workers = world()
    if workers == 1:
        return mine
    counts = torch.zeros(workers, dtype=torch.long, device=device)
    counts[rank] = len(mine)
    dist.all_reduce(counts)
    padded = torch.zeros((int(counts.max()), mine.shape[1]), device=device)
    padded[: len(mine)] = torch.from_numpy(mine)
    parts = [torch.empty_like(padded) for _ in range(workers)]
    dist.all_gather(parts, padded)
    rows: NDArray[np.float32] = np.concatenate(
        [part[:count].cpu().numpy() for part, count in zip(parts, counts.tolist(), strict=True)]
    )
    return rows

"""GradCache: exact gradients of batches larger than memory."""

from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from rayreel.tower.batch import FeatureBatch
from rayreel.tower.losses.global_batch import Gather, identity
from rayreel.tower.losses.pair_loss import PairLoss
from rayreel.training.batches import PairBatch

Embed = Callable[[FeatureBatch], Tensor]


def backward(
    embed: Embed,
    loss: PairLoss,
    batch: PairBatch,
    *,
    gather: Gather = identity,
    micro_batch: int | None = None,
    scale: Callable[[Tensor], Tensor] = identity,
) -> Tensor:
    """Accumulate the gradients of a step in the parameters of tower and loss; return this worker's share of the loss.

    With `micro_batch`, the tower runs on that many videos at a time: first without a graph, to get all embeddings and
    the gradient of the loss with respect to each; then again with a graph, to backpropagate those gradients. Both
    passes use the same dropout. The result is exact at twice the forward cost, and memory holds one part's graph.
    `scale` is applied to the loss before backpropagation (fp16). Source: Gao et al. 2021, Scaling Deep Contrastive
    Learning Batch Size under Memory Limited Setup.
    """
    sides = [side for side in (batch.a, batch.b, batch.negatives) if side is not None]

    def loss_of(embedded: list[Tensor]) -> Tensor:
        a_BD, b_BD, *negatives = embedded
        share: Tensor = loss(a_BD, b_BD, batch.global_batch, gather, negatives[0] if negatives else None)
        torch.autograd.backward(scale(share))
        return share.detach()

    if micro_batch is None or all(len(side.ids_B) <= micro_batch for side in sides):
        return loss_of([embed(side) for side in sides])
    return _in_micro_batches(embed, loss_of, sides, micro_batch)


def _in_micro_batches(
    embed: Embed, loss_of: Callable[[list[Tensor]], Tensor], sides: list[FeatureBatch], micro_batch: int
) -> Tensor:
    state = _random_state(sides[0].ids_B.device)
    with torch.no_grad():
        parts = [[embed(part) for part in _parts(side, micro_batch)] for side in sides]
    whole = [torch.cat(embeddings).requires_grad_() for embeddings in parts]
    share = loss_of(whole)
    _set_random_state(state)
    for side, embeddings in zip(sides, whole, strict=True):
        gradient = embeddings.grad
        assert gradient is not None
        for number, part in enumerate(_parts(side, micro_batch)):
            start = number * micro_batch
            torch.autograd.backward(embed(part), gradient[start : start + micro_batch])
    return share


def _parts(batch: FeatureBatch, size: int) -> Iterator[FeatureBatch]:
    for start in range(0, len(batch.ids_B), size):
        rows = slice(start, start + size)
        vectors = {modality: x[rows] for modality, x in batch.vectors.items()}
        yield FeatureBatch(vectors, {modality: x[rows] for modality, x in batch.mask.items()}, batch.ids_B[rows])


RandomState = tuple[Tensor, Tensor | None]


def _random_state(device: torch.device) -> RandomState:
    return torch.get_rng_state(), torch.cuda.get_rng_state(device) if device.type == "cuda" else None


def _set_random_state(state: RandomState) -> None:
    torch.set_rng_state(state[0])
    if state[1] is not None:
        torch.cuda.set_rng_state(state[1])

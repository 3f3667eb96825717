"""Candidates: the vectors of all workers with which this worker's views are compared."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.config import Distance
from rayreel.tower.losses.global_batch import Gather, GlobalBatch

_MIN_DISTANCE = 1e-3


@dataclass(frozen=True, slots=True)
class ContrastCandidates:
    """This worker's views of one side (x_BD) and what they are compared with.

    y_CD: all workers' views of the other side, then all explicit negatives. partner_BD: each row's partner, before
    gathering. positive_BC: one-hot column of that partner. negative_BC: each row's negatives, none for a filler row.
    """

    x_BD: Tensor
    y_CD: Tensor
    partner_BD: Tensor
    positive_BC: Tensor
    negative_BC: Tensor


def gather_candidates(
    a_BD: Tensor, b_BD: Tensor, batch: GlobalBatch, gather: Gather, negatives_ED: Tensor | None = None
) -> ContrastCandidates:
    """Gather the candidates for the direction a → b.

    Partners are never negatives, whatever the relations of `batch` return for them.
    """
    ids_C, y_CD = batch.b_ids_J, gather(b_BD)
    if negatives_ED is not None:
        assert batch.negative_ids_K is not None, "explicit negatives need their ids"
        ids_C, y_CD = torch.cat([ids_C, batch.negative_ids_K]), torch.cat([y_CD, gather(negatives_ED)])
    column_B = torch.arange(batch.first, batch.first + batch.count, device=ids_C.device)
    positive_BC = F.one_hot(column_B, len(ids_C)).bool()
    excluded_BC = batch.excluded_negatives(batch.a_ids_J[batch.own], ids_C)
    negative_BC = ~excluded_BC & ~positive_BC & batch.real_J[batch.own].unsqueeze(1)
    return ContrastCandidates(a_BD, y_CD, b_BD, positive_BC, negative_BC)


def swapped(batch: GlobalBatch) -> GlobalBatch:
    """Return the batch for the direction b → a, without explicit negatives and log q, which apply to a → b only."""
    return replace(batch, a_ids_J=batch.b_ids_J, b_ids_J=batch.a_ids_J, log_q_J=None, negative_ids_K=None)


def distances(candidates: ContrastCandidates, kind: Distance) -> Tensor:
    """Return the distances [B, C] of each row to each candidate: 1 - cosine, or Euclidean.

    The gradient of two equal vectors is zero.
    """
    cosine_BC = candidates.x_BD @ candidates.y_CD.T
    if kind == "cosine":
        return 1 - cosine_BC
    # Products are 15 times as fast as differences, but between nearly equal vectors rounding turns the gradient into
    # noise. Only partners come that close, and they are few, so their distances are computed from differences.
    partner_B = torch.linalg.vector_norm(candidates.x_BD - candidates.partner_BD, dim=1)
    return torch.where(
        candidates.positive_BC, partner_B.unsqueeze(1), (2 - 2 * cosine_BC).clamp(min=_MIN_DISTANCE**2).sqrt()
    )

"""Candidates: the vectors of all workers that this worker's views are held against."""

from dataclasses import dataclass, replace

import torch
from torch import Tensor
from torch.nn import functional as F

from rayreel.tower.losses.joined import Gather, Joined


@dataclass(frozen=True, slots=True)
class Candidates:
    """x_BD: this worker's views of one side; y_CD: all workers' views of the other, then all explicit negatives.

    partner_BD: what each row should find, as yet ungathered; own_BC: its column; negative_BC: the negatives of each
    row, none for a filler row.
    """

    x_BD: Tensor
    y_CD: Tensor
    partner_BD: Tensor
    own_BC: Tensor
    negative_BC: Tensor


def candidates(
    a_BD: Tensor, b_BD: Tensor, joined: Joined, gather: Gather, negatives_ED: Tensor | None = None
) -> Candidates:
    """The direction a → b. Partners are never negatives, whatever the relations of `joined` say of them."""
    ids_C, y_CD = joined.b_ids_J, gather(b_BD)
    if negatives_ED is not None:
        assert joined.negative_ids_K is not None, "explicit negatives need their ids"
        ids_C, y_CD = torch.cat([ids_C, joined.negative_ids_K]), torch.cat([y_CD, gather(negatives_ED)])
    column_B = torch.arange(joined.first, joined.first + joined.count, device=ids_C.device)
    own_BC = F.one_hot(column_B, len(ids_C)).bool()
    barred_BC = joined.barred(joined.a_ids_J[joined.own], ids_C)
    return Candidates(a_BD, y_CD, b_BD, own_BC, ~barred_BC & ~own_BC & joined.real_J[joined.own].unsqueeze(1))


def turned(joined: Joined) -> Joined:
    """The same pairs seen from b: explicit negatives and the odds of being drawn belong to the direction a → b."""
    return replace(joined, a_ids_J=joined.b_ids_J, b_ids_J=joined.a_ids_J, log_q_J=None, negative_ids_K=None)

"""Two views of each video: what InfoNCE pulls together."""

import torch
from torch import Tensor

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch

Masks = dict[Modality, Tensor]


def two_views(
    batch: FeatureBatch, modality_dropout: float, random: torch.Generator
) -> tuple[FeatureBatch, FeatureBatch]:
    """Deal each video's frames and windows of sound out to two views, then drop whole modalities by chance.

    No frame and no window is in both views; what there is only one of, such as the text, is in both until a view
    loses it. So the tower cannot match views by recognising a vector: it has to find what a video's moments have in
    common and, where modalities were dropped, its modalities. A view that would be empty loses nothing.
    """
    halves = {modality: _deal(batch.mask[modality], random) for modality in Modality}
    views = []
    for side in (0, 1):
        half = {m: halves[m][side] for m in Modality}
        masks = _refill({m: mask & _keep(mask, modality_dropout, random) for m, mask in half.items()}, half)
        views.append(FeatureBatch(batch.vectors, masks, batch.ids_B))
    return views[0], views[1]


def _deal(mask_BN: Tensor, random: torch.Generator) -> tuple[Tensor, Tensor]:
    """Split the vectors that are there in two at random, an only one to both; of an odd number, one more to either."""
    dice = torch.rand(mask_BN.shape, generator=random).masked_fill(~mask_BN, torch.inf)
    rank_BN = dice.argsort(dim=1).argsort(dim=1)
    count_B1 = mask_BN.sum(dim=1, keepdim=True)
    first_B1 = (count_B1 + torch.randint(0, 2, count_B1.shape, generator=random)) // 2
    single_B1 = count_B1 == 1
    return mask_BN & ((rank_BN < first_B1) | single_B1), mask_BN & ((rank_BN >= first_B1) | single_B1)


def _keep(mask_BN: Tensor, modality_dropout: float, random: torch.Generator) -> Tensor:
    return torch.rand((len(mask_BN), 1), generator=random) >= modality_dropout


def _refill(masks: Masks, full: Masks) -> Masks:
    """Give rows that have lost everything all that `full` has."""
    empty_B1 = ~torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1).any(dim=1, keepdim=True)
    return {modality: mask | (full[modality] & empty_B1) for modality, mask in masks.items()}

"""What the two sides of each pair show of their videos."""

from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.training.pairs.config import PairsConfig
from rayreel.training.pairs.sources import Kind

Masks = dict[Modality, Tensor]


@dataclass(frozen=True, slots=True)
class ViewRandomness:
    """All random numbers that the views of R pairs take, drawn for a joined step so that workers can share them out.

    deal_RN: a number per vector and modality, for who gets which; odd_RM: who gets one more; keep_R2M: which modalities
    drop out on each side; flip_R1: which side of a cross-modal pair shows the text; seed_R: noise.
    """

    deal_RN: Masks
    odd_RM: Tensor
    keep_R2M: Tensor
    flip_R1: Tensor
    seed_R: Tensor

    def of(self, positions: NDArray[np.int64]) -> "ViewRandomness":
        """Those of some of the pairs, by their place in the joined step; a filler may have any pair's."""
        chosen = torch.from_numpy(positions)
        deal = {modality: x[chosen] for modality, x in self.deal_RN.items()}
        return ViewRandomness(
            deal, self.odd_RM[chosen], self.keep_R2M[chosen], self.flip_R1[chosen], self.seed_R[chosen]
        )


def draw_randomness(counts: dict[Modality, int], rows: int, random: torch.Generator) -> ViewRandomness:
    """For `rows` pairs, fillers not counted; `counts`: the largest number of vectors of a modality in the matrix."""
    return ViewRandomness(
        {modality: torch.rand((rows, max(1, counts[modality])), generator=random) for modality in Modality},
        torch.randint(0, 2, (rows, len(Modality)), generator=random),
        torch.rand((rows, 2, len(Modality)), generator=random),
        torch.randint(0, 2, (rows, 1), generator=random).bool(),
        torch.randint(0, 2**62, (rows,), generator=random),
    )


def make_views(
    a: FeatureBatch, b: FeatureBatch, kinds_B: NDArray[np.int8], randomness: ViewRandomness, config: PairsConfig
) -> tuple[FeatureBatch, FeatureBatch]:
    """The two views of B pairs: a holds the anchors' videos, b the partners', the same ones where a video is its own.

    Two views of one video: its frames and windows of sound are dealt out, none to both; only what there is one of,
    such as the text, is in both. So the tower cannot match views by recognising a vector: it has to find what a video's
    moments have in common. Cross-modal: pictures and sound on one side, text on the other, or two views where a side
    would be empty. Two videos: all there is of both. Noise: all there is, on the b side blurred.
    Views, and videos of a pair, then lose whole modalities by chance; a view that would be empty loses nothing.
    Raises nothing; kinds that are FILLER are treated as views. Works on the CPU.
    """
    kinds = torch.from_numpy(kinds_B).unsqueeze(1)
    cross_B1 = (kinds == Kind.CROSS_MODAL) & _has_both_sides(a)
    noise_B1 = kinds == Kind.NOISE
    whole_B1 = noise_B1 | (kinds == Kind.CO_WATCHED) | (kinds == Kind.LABEL) | (kinds == Kind.CO_LIKED)
    views = []
    for side, batch in enumerate((a, b)):
        shown = {m: torch.where(whole_B1, batch.mask[m], _split_view(a, batch, m, side, randomness)) for m in Modality}
        shown |= {
            m: torch.where(cross_B1, batch.mask[m] & _cross_modal_side(m, side, randomness), shown[m]) for m in Modality
        }
        kept_BM = (randomness.keep_R2M[:, side] >= config.modality_dropout) | cross_B1 | noise_B1
        masks = {m: shown[m] & kept_BM[:, place : place + 1] for place, m in enumerate(Modality)}
        views.append(FeatureBatch(batch.vectors, _refill(masks, shown), batch.ids_B))
    return views[0], _add_noise(views[1], noise_B1.squeeze(1), randomness, config.noise_std)


def _split_view(
    a: FeatureBatch, batch: FeatureBatch, modality: Modality, side: int, randomness: ViewRandomness
) -> Tensor:
    """What `side` gets of the vectors dealt out: an only one to both; of an odd number, one more to either."""
    mask_BN = a.mask[modality]
    number_BN = randomness.deal_RN[modality][:, : mask_BN.shape[1]].masked_fill(~mask_BN, torch.inf)
    rank_BN = number_BN.argsort(dim=1).argsort(dim=1)
    count_B1 = mask_BN.sum(dim=1, keepdim=True)
    place = list(Modality).index(modality)
    first_B1 = (count_B1 + randomness.odd_RM[:, place : place + 1]) // 2
    got_BN = (rank_BN < first_B1) if side == 0 else (rank_BN >= first_B1)
    return _fit_width(mask_BN & (got_BN | (count_B1 == 1)), batch.mask[modality].shape[1])


def _fit_width(mask_BN: Tensor, width: int) -> Tensor:
    """Cut or filled up: partners are padded to their own largest count."""
    return torch.nn.functional.pad(mask_BN, (0, width - mask_BN.shape[1]))


def _has_both_sides(batch: FeatureBatch) -> Tensor:
    """[B, 1]: videos that can be shown as text alone and as pictures or sound alone."""
    there = {modality: batch.mask[modality].any(dim=1, keepdim=True) for modality in Modality}
    return there[Modality.TEXT] & (there[Modality.VISUAL] | there[Modality.AUDIO])


def _cross_modal_side(modality: Modality, side: int, randomness: ViewRandomness) -> Tensor:
    """[B, 1]: does this side of a cross-modal pair show the modality? Unflipped, b has the text."""
    has_text_B1 = randomness.flip_R1 ^ (side == 1)
    return has_text_B1 if modality is Modality.TEXT else ~has_text_B1


def _refill(masks: Masks, full: Masks) -> Masks:
    """Give rows that have lost everything all that `full` has."""
    empty_B1 = ~torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1).any(dim=1, keepdim=True)
    return {modality: mask | (full[modality] & empty_B1) for modality, mask in masks.items()}


def _add_noise(batch: FeatureBatch, noise_B: Tensor, randomness: ViewRandomness, std: float) -> FeatureBatch:
    """Gaussian noise on all vectors of these rows, in proportion to each vector's root mean square."""
    if not noise_B.any():
        return batch
    vectors = {modality: x.clone() for modality, x in batch.vectors.items()}
    for row in noise_B.nonzero().flatten().tolist():
        # A generator per row: what a pair gets must not depend on which other pairs its worker has.
        random = torch.Generator().manual_seed(int(randomness.seed_R[row]))
        for modality in Modality:
            x_ND = vectors[modality][row, batch.mask[modality][row]]
            noise_ND = torch.randn(x_ND.shape, generator=random)
            scale_N1 = std * x_ND.square().mean(dim=1, keepdim=True).sqrt()
            vectors[modality][row, batch.mask[modality][row]] = x_ND + scale_N1 * noise_ND
    return FeatureBatch(vectors, batch.mask, batch.ids_B)

"""The two views of each pair: which vectors of its videos each side contains."""

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
    """All random numbers for the views of R pairs, drawn for the global batch so that workers can take their share.

    deal_RN: per vector and modality, assigns vectors to sides; odd_RM: side that gets the extra vector; keep_R2M:
    modality dropout of each side; flip_R1: side of a cross-modal pair that contains the text; seed_R: noise seeds.
    They are drawn on the CPU, whose generator no other device has, and take a thousandth of the features' bytes.
    """

    deal_RN: Masks
    odd_RM: Tensor
    keep_R2M: Tensor
    flip_R1: Tensor
    seed_R: Tensor

    def of(self, positions: NDArray[np.int64]) -> "ViewRandomness":
        """Return those of the pairs at these positions in the global batch; fillers may use any pair's."""
        chosen = torch.from_numpy(positions)
        deal = {modality: x[chosen] for modality, x in self.deal_RN.items()}
        return ViewRandomness(
            deal, self.odd_RM[chosen], self.keep_R2M[chosen], self.flip_R1[chosen], self.seed_R[chosen]
        )

    def to(self, device: torch.device) -> "ViewRandomness":
        """Copy to another device; the seeds stay on the CPU, where the noise is drawn."""
        deal = {modality: x.to(device) for modality, x in self.deal_RN.items()}
        return ViewRandomness(
            deal, self.odd_RM.to(device), self.keep_R2M.to(device), self.flip_R1.to(device), self.seed_R
        )


def draw_randomness(counts: dict[Modality, int], rows: int, random: torch.Generator) -> ViewRandomness:
    """Draw for `rows` pairs, without fillers; `counts`: largest number of vectors of each modality in the matrix."""
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
    """Return the two views of B pairs; a holds the anchors' features, b the partners' (equal if a video is its own).

    Two views of one video: frames and audio windows are split between the sides without overlap; a modality with a
    single vector, such as text, is in both. The tower therefore cannot match views by a shared vector and has to learn
    what the moments of a video have in common. Cross-modal: images and audio on one side, text on the other; two views
    if a side would be empty. Two videos: all vectors of both. Noise: all vectors, with noise added on side b.
    Modality dropout is then applied to all but cross-modal and noise pairs; a view that would become empty keeps all.
    FILLER kinds are treated as views. Runs where the features are, with the same result everywhere.
    """
    kinds = torch.from_numpy(kinds_B).to(a.ids_B.device).unsqueeze(1)
    cross_B1 = (kinds == Kind.CROSS_MODAL) & _has_both_sides(a)
    noise_B1 = kinds == Kind.NOISE
    whole_B1 = noise_B1 | (kinds == Kind.CO_WATCHED) | (kinds == Kind.LABEL) | (kinds == Kind.CO_LIKED)
    whole_B1 |= kinds == Kind.BEHAVIOUR
    views = []
    for side, batch in enumerate((a, b)):
        visible = {
            m: torch.where(whole_B1, batch.mask[m], _split_view(a, batch, m, side, randomness)) for m in Modality
        }
        visible |= {
            m: torch.where(cross_B1, batch.mask[m] & _cross_modal_side(m, side, randomness), visible[m])
            for m in Modality
        }
        kept_BM = (randomness.keep_R2M[:, side] >= config.modality_dropout) | cross_B1 | noise_B1
        masks = {m: visible[m] & kept_BM[:, place : place + 1] for place, m in enumerate(Modality)}
        views.append(FeatureBatch(batch.vectors, _refill(masks, visible), batch.ids_B))
    return views[0], _add_noise(views[1], np.flatnonzero(kinds_B == Kind.NOISE), randomness, config.noise_std)


def _split_view(
    a: FeatureBatch, batch: FeatureBatch, modality: Modality, side: int, randomness: ViewRandomness
) -> Tensor:
    """The vectors of `side`: a single vector goes to both; of an odd number, one side gets one more at random."""
    mask_BN = a.mask[modality]
    number_BN = randomness.deal_RN[modality][:, : mask_BN.shape[1]].masked_fill(~mask_BN, torch.inf)
    rank_BN = number_BN.argsort(dim=1, stable=True).argsort(dim=1, stable=True)  # ties as on every device
    count_B1 = mask_BN.sum(dim=1, keepdim=True)
    place = list(Modality).index(modality)
    first_B1 = (count_B1 + randomness.odd_RM[:, place : place + 1]) // 2
    got_BN = (rank_BN < first_B1) if side == 0 else (rank_BN >= first_B1)
    return _fit_width(mask_BN & (got_BN | (count_B1 == 1)), batch.mask[modality].shape[1])


def _fit_width(mask_BN: Tensor, width: int) -> Tensor:
    """Cut or pad: partners are padded to their own largest count."""
    return torch.nn.functional.pad(mask_BN, (0, width - mask_BN.shape[1]))


def _has_both_sides(batch: FeatureBatch) -> Tensor:
    """[B, 1]: videos with text and with images or audio."""
    present = {modality: batch.mask[modality].any(dim=1, keepdim=True) for modality in Modality}
    return present[Modality.TEXT] & (present[Modality.VISUAL] | present[Modality.AUDIO])


def _cross_modal_side(modality: Modality, side: int, randomness: ViewRandomness) -> Tensor:
    """[B, 1]: whether this side of a cross-modal pair contains the modality. Unflipped, b has the text."""
    has_text_B1 = randomness.flip_R1 ^ (side == 1)
    return has_text_B1 if modality is Modality.TEXT else ~has_text_B1


def _refill(masks: Masks, full: Masks) -> Masks:
    """Restore `full` in rows that have lost all modalities."""
    empty_B1 = ~torch.stack([mask.any(dim=1) for mask in masks.values()], dim=1).any(dim=1, keepdim=True)
    return {modality: mask | (full[modality] & empty_B1) for modality, mask in masks.items()}


def _add_noise(batch: FeatureBatch, rows: NDArray[np.intp], randomness: ViewRandomness, std: float) -> FeatureBatch:
    """Add Gaussian noise to all vectors of these rows, scaled by each vector's root mean square."""
    if not len(rows):
        return batch
    vectors = {modality: x.clone() for modality, x in batch.vectors.items()}
    for row in rows.tolist():
        # One generator per row: a pair's noise must not depend on the other pairs of its worker.
        random = torch.Generator().manual_seed(int(randomness.seed_R[row]))
        for modality in Modality:
            x_ND = vectors[modality][row, batch.mask[modality][row]]
            noise_ND = torch.randn(x_ND.shape, generator=random).to(x_ND.device)
            scale_N1 = std * x_ND.square().mean(dim=1, keepdim=True).sqrt()
            vectors[modality][row, batch.mask[modality][row]] = x_ND + scale_N1 * noise_ND
    return FeatureBatch(vectors, batch.mask, batch.ids_B)

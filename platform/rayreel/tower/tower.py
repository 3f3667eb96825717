"""The tower: standardisation, LayerNorm and a projection per modality, pooling, fusion, normalisation."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import TowerConfig
from rayreel.tower.embedder import Embedder
from rayreel.tower.fusion import AttentionFusion, ConcatFusion, GatedFusion

_CLIP = 10.0
_MIN_SPREAD = 0.01  # as a share of the mean spread


def masked_mean(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Return the mean over the valid vectors."""
    sum_BD = torch.einsum("bn,bnd->bd", mask_BN.to(x_BND.dtype), x_BND)
    return sum_BD / mask_BN.sum(dim=1, keepdim=True).clamp(min=1)


def masked_max(x_BND: Tensor, mask_BN: Tensor) -> Tensor:
    """Return the largest value of each feature over the valid vectors."""
    largest_BD = x_BND.masked_fill(~mask_BN.unsqueeze(-1), -torch.inf).amax(dim=1)
    return largest_BD.masked_fill(~mask_BN.any(dim=1, keepdim=True), 0)


class AttentionPooling(nn.Module):
    """Mean over the valid vectors, softmax-weighted by a network that scores each vector separately.

    Initially the plain mean. Source: Ilse et al. 2018, Attention-based Deep Multiple Instance Learning.
    """

    def __init__(self, dim: int, hidden: int = 128) -> None:
        super().__init__()
        last = nn.Linear(hidden, 1, bias=False)
        nn.init.zeros_(last.weight)
        self.score = nn.Sequential(nn.Linear(dim, hidden), nn.Tanh(), last)

    def forward(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """Return pooled_BD."""
        return torch.einsum("bn,bnd->bd", self.weights(x_BND, mask_BN), x_BND)

    def weights(self, x_BND: Tensor, mask_BN: Tensor) -> Tensor:
        """[B, N]: weight of each vector; rows sum to 1, or to 0 for videos without vectors."""
        score_BN: Tensor = self.score(x_BND).squeeze(-1)
        # Not -inf: the softmax of a video without vectors and its gradient must stay finite.
        score_BN = score_BN.masked_fill(~mask_BN, torch.finfo(score_BN.dtype).min)
        return score_BN.softmax(dim=1) * mask_BN


class Standardise(nn.Module):
    """(x - mean) / spread, per feature, with the training videos' statistics as buffers.

    Frozen features lie in a narrow cone, so the cosine of any two videos is high. Subtracting the mean makes cosines
    discriminative.

    `gap` is the mean of words in the same space minus the mean of the vectors, zero if unknown. Words and pictures of
    one contrastive model lie in two cones (Liang et al. 2022, Mind the Gap).
    """

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(dim))
        self.register_buffer("spread", torch.ones(dim))
        self.register_buffer("gap", torch.zeros(dim))
        self.mean: Tensor
        self.spread: Tensor
        self.gap: Tensor
        self.register_load_state_dict_pre_hook(_without_gap)  # type: ignore[no-untyped-call]

    def fit(self, vectors_ND: NDArray[np.float16], words_D: NDArray[np.float32] | None = None) -> None:
        """Store the statistics of these vectors and, if given, of words. An empty array changes nothing.

        `words_D` is the mean of words.
        """
        if len(vectors_ND) == 0:
            return
        vectors = torch.from_numpy(vectors_ND).float()
        spread = vectors.std(dim=0, unbiased=False)
        self.mean.copy_(vectors.mean(dim=0))
        # A feature that is constant in training must not explode on the first video in which it differs.
        self.spread.copy_(spread.clamp(min=max(float(spread.mean()) * _MIN_SPREAD, 1e-6)))
        if words_D is not None:
            self.gap.copy_(torch.from_numpy(words_D) - self.mean)

    def forward(self, x: Tensor) -> Tensor:
        """Standardise x [..., D], clipped so that a query far from the training data still gives a usable vector."""
        # In place: allocating memory for each operation takes three times as long as the arithmetic.
        return (x - self.mean).div_(self.spread).clamp_(-_CLIP, _CLIP)


def _without_gap(module: nn.Module, state: dict[str, Tensor], prefix: str, *_: object) -> None:
    """Add the gap to the state of a tower saved before there was one."""
    assert isinstance(module, Standardise)
    state.setdefault(f"{prefix}gap", torch.zeros_like(module.gap))


class VideoTower(Embedder):
    """Maps the features of a video, or of any part of it, to one unit embedding with a trained network.

    The same tower embeds videos and queries: a query of text or sound alone is a video with absent modalities.
    `dims` is the feature dimension of each modality.

    >>> dims = {Modality.VISUAL: 1280, Modality.AUDIO: 128, Modality.TEXT: 384}
    >>> tower = VideoTower(TowerConfig(dim=64), dims).eval()
    >>> frames_BND = {modality: torch.randn(2, 8, dim) for modality, dim in dims.items()}
    >>> masks_BN = {modality: torch.full((2, 8), modality is Modality.VISUAL) for modality in dims}  # frames only
    >>> z_BD = tower(FeatureBatch(frames_BND, masks_BN))
    >>> z_BD.shape, z_BD.norm(dim=1).allclose(torch.ones(2))
    (torch.Size([2, 64]), True)
    """

    kind: ClassVar[str] = "tower"

    def __init__(self, config: TowerConfig, dims: dict[Modality, int]) -> None:
        super().__init__()
        self.config: TowerConfig = config
        self.dims = dims
        self.project = nn.ModuleDict({modality.value: _projection(dims[modality], config) for modality in Modality})
        self.pool = nn.ModuleDict(
            {m.value: AttentionPooling(config.width) for m in Modality if config.pooling == "attention"}
        )
        self.fusion = _fusion(config)
        self.out = nn.Identity() if config.width == config.dim else _orthogonal(config.width, config.dim)

    @property
    def dim(self) -> int:
        """Length of an embedding."""
        return self.config.dim

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities that the tower reads."""
        return self.config.modalities

    def fit_inputs(
        self,
        vectors: Mapping[Modality, NDArray[np.float16]],
        words: Mapping[Modality, NDArray[np.float32]] = MappingProxyType({}),
    ) -> None:
        """Fit the standardisation to the training videos' feature vectors, [N, D] per modality.

        `words`: the mean of words, [D], in the space of a modality that has one in common with words.
        """
        for modality, values in vectors.items():
            self._standardise(modality).fit(values, words.get(modality) if self.config.centre_words else None)

    def gap(self, modality: Modality) -> Tensor | None:
        """Return the mean of words minus the mean of the vectors, [D]."""
        return self._standardise(modality).gap

    def copy_inputs(self, other: "VideoTower") -> None:
        """Copy the standardisation of another tower with the same feature dimensions."""
        for modality in Modality:
            self._standardise(modality).load_state_dict(other._standardise(modality).state_dict())

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return z_BD of unit length; zero for a video without any modality that this tower uses."""
        pooled = [self._pool(batch, modality) for modality in Modality]
        used_M = torch.tensor([m in self.config.modalities for m in Modality], device=pooled[0].device)
        present_BM = batch.present_BM() & used_M
        empty_B1 = ~present_BM.any(dim=1, keepdim=True)
        # Fusion needs a present modality in every row; its output for the empty rows is discarded.
        fused_BD = self.out(self.fusion(torch.stack(pooled, dim=1), present_BM | empty_B1))
        return F.normalize(fused_BD.float().masked_fill(empty_B1, 0), dim=-1)

    def _pool(self, batch: FeatureBatch, modality: Modality) -> Tensor:
        standardise, norm, dropout, linear = self._projection(modality)
        x_BND, mask_BN = norm(standardise(batch.vectors[modality])), batch.mask[modality]
        if self.config.pooling == "mean":
            # The linear map of the mean equals the mean of the linear maps, with one product instead of N.
            pooled_BD = linear(dropout(masked_mean(x_BND, mask_BN)))
        elif self.config.pooling == "max":
            pooled_BD = masked_max(linear(dropout(x_BND)), mask_BN)
        else:
            pooled_BD = self.pool[modality.value](linear(dropout(x_BND)), mask_BN)
        # Unit length before fusion, so that only the fusion weights modalities. In float32: the epsilon that avoids
        # dividing an absent modality by zero is too small for half precision.
        return F.normalize(pooled_BD.float(), dim=-1)

    def _projection(self, modality: Modality) -> nn.Sequential:
        projection = self.project[modality.value]
        assert isinstance(projection, nn.Sequential)
        return projection

    def _standardise(self, modality: Modality) -> Standardise:
        standardise = self._projection(modality)[0]
        assert isinstance(standardise, Standardise)
        return standardise


def _projection(dim: int, config: TowerConfig) -> nn.Sequential:
    norm, dropout = nn.LayerNorm(dim, elementwise_affine=False), nn.Dropout(config.dropout)
    return nn.Sequential(Standardise(dim), norm, dropout, _orthogonal(dim, config.width))


def _orthogonal(dim: int, out: int) -> nn.Linear:
    """A projection that preserves angles, so that training starts from the encoders' similarities."""
    linear = nn.Linear(dim, out, bias=False)
    nn.init.orthogonal_(linear.weight)
    return linear


def _fusion(config: TowerConfig) -> GatedFusion | ConcatFusion | AttentionFusion:
    modalities = len(Modality)
    match config.fusion:
        case "gated":
            return GatedFusion(modalities, config.width, config.gate_hidden, config.gate_prior)
        case "concat":
            return ConcatFusion(modalities, config.width, config.gate_hidden, config.gate_prior)
        case "attention":
            return AttentionFusion(modalities, config.width, config.heads, config.gate_prior)

"""The tower: standardisation, LayerNorm and a projection per modality, pooling, fusion, normalisation."""

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import TowerConfig
from rayreel.tower.fusion import AttentionFusion, ConcatFusion, GatedFusion
from rayreel.tower.pooling import AttentionPooling, masked_max, masked_mean
from rayreel.tower.standardise import Standardise


class VideoTower(nn.Module):
    """Maps the features of a video, or of any part of it, to one unit embedding.

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

    def __init__(self, config: TowerConfig, dims: dict[Modality, int]) -> None:
        super().__init__()
        self.config, self.dims = config, dims
        self.project = nn.ModuleDict({modality.value: _projection(dims[modality], config) for modality in Modality})
        self.pool = nn.ModuleDict(
            {m.value: AttentionPooling(config.width) for m in Modality if config.pooling == "attention"}
        )
        self.fusion = _fusion(config)
        self.out = nn.Identity() if config.width == config.dim else _orthogonal(config.width, config.dim)

    def fit_inputs(self, vectors: dict[Modality, NDArray[np.float16]]) -> None:
        """Fit the standardisation to the training videos' feature vectors, [N, D] per modality."""
        for modality, values in vectors.items():
            self._standardise(modality).fit(values)

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

"""The tower: standardising, LayerNorm and a projection per modality, pooling, fusion, unit length."""

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import BaseModel, ConfigDict, Field, PositiveFloat
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.fusion import GatedFusion
from rayreel.tower.pooling import masked_mean
from rayreel.tower.standardise import Standardise


class TowerConfig(BaseModel):
    """The shape of a tower."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    dim: int = Field(512, ge=8, le=4096, description="length of the embedding")
    gate_hidden: int = Field(256, ge=1, description="hidden units of the fusion gate")
    gate_prior: tuple[PositiveFloat, PositiveFloat, PositiveFloat] = Field(
        (0.45, 0.1, 0.45), description="share of visual, audio and text before training has learned better"
    )
    dropout: float = Field(0.3, ge=0, lt=1, description="dropout on the standardised features, in training only")


class VideoTower(nn.Module):
    """Features of a video, or of any part of it, to one unit embedding.

    The same tower embeds whole videos and queries: a text alone, or sound alone, is a video with absent modalities.
    `dims` are the widths of the features of each modality.
    """

    def __init__(self, config: TowerConfig, dims: dict[Modality, int]) -> None:
        super().__init__()
        self.config, self.dims = config, dims
        self.project = nn.ModuleDict({modality.value: _projection(dims[modality], config) for modality in Modality})
        self.fusion = GatedFusion(len(Modality), config.dim, config.gate_hidden, config.gate_prior)

    def fit_inputs(self, vectors: dict[Modality, NDArray[np.float16]]) -> None:
        """Standardise by the statistics of these feature vectors, [N, D] per modality: the training videos'."""
        for modality, values in vectors.items():
            self._standardise(modality).fit(values)

    def take_inputs(self, other: "VideoTower") -> None:
        """Standardise as another tower of the same inputs does."""
        for modality in Modality:
            self._standardise(modality).load_state_dict(other._standardise(modality).state_dict())

    def forward(self, batch: FeatureBatch) -> Tensor:
        """FeatureBatch of B videos -> z_BD of unit length. Every video needs at least one modality."""
        pooled = [self._pool(batch, modality) for modality in Modality]
        fused_BD, _ = self.fusion(torch.stack(pooled, dim=1), batch.present_BM())
        return F.normalize(fused_BD, dim=-1)

    def _pool(self, batch: FeatureBatch, modality: Modality) -> Tensor:
        projected_BND = self.project[modality.value](batch.vectors[modality])
        # Unit length before fusion, so that the gate alone decides how much a modality counts.
        return F.normalize(masked_mean(projected_BND, batch.mask[modality]), dim=-1)

    def _standardise(self, modality: Modality) -> Standardise:
        projection = self.project[modality.value]
        assert isinstance(projection, nn.Sequential) and isinstance(projection[0], Standardise)
        return projection[0]


def _projection(dim: int, config: TowerConfig) -> nn.Sequential:
    linear = nn.Linear(dim, config.dim, bias=False)
    # Orthogonal rows keep the angles of the frozen features: training starts from what the encoders already know.
    nn.init.orthogonal_(linear.weight)
    return nn.Sequential(
        Standardise(dim), nn.LayerNorm(dim, elementwise_affine=False), nn.Dropout(config.dropout), linear
    )

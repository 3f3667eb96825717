"""Frozen features as a kind of release: nothing is trained, only a mean and a spread are fitted."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from scipy import sparse
from sklearn.feature_extraction.text import TfidfTransformer
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import FrozenConfig
from rayreel.tower.embedder import Embedder
from rayreel.tower.tower import Standardise, masked_mean


class InverseFrequency(nn.Module):
    """Multiplies counts of words by the inverse of the share of texts that have them (scikit-learn's smoothed IDF)."""

    def __init__(self, dim: int) -> None:
        super().__init__()
        self.register_buffer("idf", torch.ones(dim))
        self.idf: Tensor

    def fit(self, vectors_ND: NDArray[np.float16]) -> None:
        """Store how rare each place is among these texts. An empty array changes nothing."""
        if len(vectors_ND):
            fitted = TfidfTransformer().fit(sparse.csr_matrix(np.abs(vectors_ND).astype(np.float32)))
            self.idf.copy_(torch.from_numpy(fitted.idf_))

    def forward(self, x: Tensor) -> Tensor:
        """Weight x [..., D]."""
        return x * self.idf


class FrozenFeatures(Embedder):
    """Concatenates the standardised mean of each modality, weighted and at unit length.

    With weights w, the inner product of two videos is Σ w_m cos_m over the modalities that both have, divided by the
    geometric mean of the weights that each has: for videos with the same modalities, the weighted mean of the cosines.

    >>> dims = {Modality.VISUAL: 1280, Modality.AUDIO: 128, Modality.TEXT: 384}
    >>> frozen = FrozenFeatures(FrozenConfig(audio=0), dims)
    >>> frozen.dim
    1664
    """

    kind: ClassVar[str] = "frozen"

    def __init__(self, config: FrozenConfig, dims: dict[Modality, int]) -> None:
        super().__init__()
        self.config: FrozenConfig = config
        self.dims = dims
        self.standardise = nn.ModuleDict({m.value: self._scaling(m) for m in self.modalities})

    def _scaling(self, modality: Modality) -> nn.Module:
        if modality is Modality.TEXT and self.config.inverse_frequency:
            return InverseFrequency(self.dims[modality])
        return Standardise(self.dims[modality]) if self.config.standardise else nn.Identity()

    @property
    def dim(self) -> int:
        """Length of an embedding: the dimensions of all modalities that it reads."""
        return sum(self.dims[modality] for modality in self.modalities)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities with a weight."""
        return tuple(self.config.weights)

    def fit_inputs(
        self,
        vectors: Mapping[Modality, NDArray[np.float16]],
        words: Mapping[Modality, NDArray[np.float32]] = MappingProxyType({}),
    ) -> None:
        """Fit the standardisation as that of a tower, and how rare words are."""
        for modality in self.modalities:
            standardise = self.standardise[modality.value]
            if isinstance(standardise, InverseFrequency):
                standardise.fit(vectors[modality])
            if isinstance(standardise, Standardise):
                standardise.fit(vectors[modality], words.get(modality) if self.config.centre_words else None)

    def gap(self, modality: Modality) -> Tensor | None:
        """Return the mean of words minus the mean of the vectors, [D]; None for vectors that are not standardised."""
        standardise = self.standardise[modality.value] if modality in self.modalities else None
        return standardise.gap if isinstance(standardise, Standardise) else None

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return z_BD of unit length; zero for a video without any modality that has a weight."""
        parts = [weight**0.5 * self._unit(batch, modality) for modality, weight in self.config.weights.items()]
        return F.normalize(torch.cat(parts, dim=1), dim=-1)

    def _unit(self, batch: FeatureBatch, modality: Modality) -> Tensor:
        """Return [B, D] of unit length; zero where the modality is absent."""
        x_BND = self.standardise[modality.value](batch.vectors[modality].float())
        return F.normalize(masked_mean(x_BND, batch.mask[modality]), dim=-1)

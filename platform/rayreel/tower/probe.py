"""Frozen features beside the scores of a linear classifier: a kind of release for catalogs with categories."""

from typing import ClassVar, Self

import numpy as np
import torch
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional as F

from rayreel.encoders.encoder import Modality
from rayreel.tower.batch import FeatureBatch
from rayreel.tower.config import ProbeConfig
from rayreel.tower.embedder import Embedder
from rayreel.tower.frozen import FrozenFeatures

# Nearly no regularisation: there are more features than labelled videos, and of 1, 10 and 100 this was the best.
INVERSE_REGULARISATION = 100.0


class ProbedFeatures(Embedder):
    """Concatenates frozen features with the log probabilities that a logistic regression gives to each category.

    The log probabilities are centred for each video and brought to unit length; both parts have the same weight. The
    inner product of two videos is the mean of the cosines of their features and of what they are taken for.
    """

    kind: ClassVar[str] = "probe"

    def __init__(self, config: ProbeConfig, dims: dict[Modality, int]) -> None:
        super().__init__()
        self.config: ProbeConfig = config
        self.dims = dims
        self.features = FrozenFeatures(config.features, dims)
        self.scores = nn.Linear(self.features.dim, len(config.categories))

    @classmethod
    def fitted(cls, features: FrozenFeatures, unit_ND: NDArray[np.float32], categories_N: NDArray[np.str_]) -> Self:
        """Return frozen features beside a classifier of the categories of videos with these unit embeddings [N, D].

        There must be at least two categories.
        """
        regression = LogisticRegression(C=INVERSE_REGULARISATION, max_iter=1000).fit(unit_ND, categories_N)
        names = tuple(str(name) for name in regression.classes_)
        probed = cls(ProbeConfig(features=features.config, categories=names), features.dims)
        probed.features.load_state_dict(features.state_dict())
        # Of two categories, scikit-learn has the score of the second alone; the first's is 0.
        first = len(names) - len(regression.coef_)
        with torch.no_grad():
            probed.scores.weight.zero_()[first:] = torch.from_numpy(regression.coef_)
            probed.scores.bias.zero_()[first:] = torch.from_numpy(regression.intercept_)
        return probed.requires_grad_(requires_grad=False).eval()

    @property
    def dim(self) -> int:
        """Length of an embedding: all features and a number for each category."""
        return self.features.dim + len(self.config.categories)

    @property
    def modalities(self) -> tuple[Modality, ...]:
        """The modalities with a weight."""
        return self.features.modalities

    def gap(self, modality: Modality) -> Tensor | None:
        """Return that of the frozen features."""
        return self.features.gap(modality)

    def forward(self, batch: FeatureBatch) -> Tensor:
        """Return z_BD of unit length; zero for a video without any modality that has a weight."""
        unit_BD: Tensor = self.features(batch)
        log_BC = self.scores(unit_BD).log_softmax(dim=-1)
        log_BC = F.normalize(log_BC - log_BC.mean(dim=-1, keepdim=True), dim=-1)
        log_BC = log_BC * unit_BD.any(dim=-1, keepdim=True)
        return F.normalize(torch.cat([unit_BD, log_BC], dim=-1), dim=-1)

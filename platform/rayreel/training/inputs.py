"""Fit what standardises the features, on the training videos."""

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix
from rayreel.tower.frozen import FrozenFeatures
from rayreel.tower.tower import VideoTower

# A sample of this size gives accurate feature statistics and fits into memory.
_STATISTICS_VIDEOS = 10_000


def fit_inputs(
    tower: VideoTower | FrozenFeatures,
    matrix: FeatureMatrix,
    train: NDArray[np.int64],
    seed: int,
    words: Mapping[Modality, NDArray[np.float32]],
) -> None:
    """Fit the standardisation to the videos `train`, or to a sample of them if there are many, and to `mean_words`."""
    if len(train) > _STATISTICS_VIDEOS:
        train = np.random.default_rng(seed).choice(train, _STATISTICS_VIDEOS, replace=False)
    tower.fit_inputs({modality: vectors.of(train) for modality, vectors in matrix.vectors.items()}, words)

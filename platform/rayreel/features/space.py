"""The space of a single encoder: its raw vectors, averaged over each video, and exact neighbours in it."""

from dataclasses import dataclass

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray
from sklearn.neighbors import NearestNeighbors

from rayreel.encoders.encoder import Modality
from rayreel.features.matrix import FeatureMatrix, mean_pooled
from rayreel.features.metric import Metric

_SKLEARN = {Metric.COSINE: "cosine", Metric.L2: "euclidean", Metric.L1: "manhattan"}


@dataclass(frozen=True, slots=True)
class EncoderSpace:
    """The N videos that have a modality, their mean vectors [N, D] and the metric that compares them.

    >>> from rayreel.features.store import open_store
    >>> from rayreel.storage import Storage
    >>> storage = Storage("demo")
    >>> store = open_store(storage, storage.folders(storage.path("features"))[0])
    >>> space = EncoderSpace.of(FeatureMatrix.from_table(store.read()), Modality.VISUAL, Metric.L1)
    >>> nearest_NK, distances_NK = space.neighbours(3)
    >>> nearest_NK.shape, bool((distances_NK >= 0).all())
    ((48, 3), True)
    """

    rows: pa.Table
    vectors_ND: NDArray[np.float32]
    metric: Metric

    @staticmethod
    def of(matrix: FeatureMatrix, modality: Modality, metric: Metric) -> "EncoderSpace":
        """Return the space of the videos of a matrix that have the modality."""
        has = np.flatnonzero(matrix.vectors[modality].counts)
        return EncoderSpace(matrix.rows.take(has), mean_pooled(matrix.vectors[modality])[has], metric)

    def neighbours(self, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the nearest others of every video, best first: row numbers [N, K] and cosines or distances [N, K].

        K is `k`, or N - 1 if that is less.
        """
        return self._nearest(None, min(k, len(self.vectors_ND) - 1))

    def nearest(self, query_D: NDArray[np.float32], k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """Return the videos nearest to a vector, best first: row numbers [K] and cosines or distances [K]."""
        rows_1K, scores_1K = self._nearest(query_D[None], min(k, len(self.vectors_ND)))
        return rows_1K[0], scores_1K[0]

    def _nearest(self, queries_QD: NDArray[np.float32] | None, k: int) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        if not k:
            queries = len(self.vectors_ND) if queries_QD is None else len(queries_QD)
            return np.empty((queries, 0), np.int64), np.empty((queries, 0))
        search = NearestNeighbors(n_neighbors=k, algorithm="brute", metric=_SKLEARN[self.metric])
        # Without queries, scikit-learn leaves every video out of its own neighbours.
        apart_QK, rows_QK = search.fit(self.vectors_ND).kneighbors(queries_QD)
        return rows_QK, 1 - apart_QK if self.metric is Metric.COSINE else apart_QK

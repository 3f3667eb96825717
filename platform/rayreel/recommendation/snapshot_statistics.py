"""Statistics of a snapshot, computed when first needed and kept while it serves."""

from functools import cached_property, lru_cache

import numpy as np
from numpy.typing import NDArray

from rayreel.index.filters import Filter
from rayreel.release.snapshot import Snapshot
from rayreel.tower.interests import mean_cosine_of

# Rows summed at a time, so that only this much of a large mapped file is in memory at once.
CHUNK = 8192
# Filters whose verdicts are kept; each takes a byte per video.
FILTERS = 32
NO, YES = 1, 2


class SnapshotStatistics:
    """A snapshot's embedding sums by category, its mean cosine, and cached filter results."""

    def __init__(self, snapshot: Snapshot) -> None:
        self._snapshot = snapshot
        self.verdicts = lru_cache(FILTERS)(self._empty_verdicts)

    def _empty_verdicts(self, _: Filter) -> bytearray:
        """Cached results of a filter for each video: 0 for unknown, 1 for no, 2 for yes.

        Callers add their results, so that frequent filters become free and no filter is applied to all videos at once.
        """
        return bytearray(len(self._snapshot))

    @cached_property
    def sums(self) -> dict[str, NDArray[np.float64]]:
        """The sum of the embeddings of each category, [dim]."""
        names, codes_N = np.unique([row.category for row in self._snapshot.rows], return_inverse=True)
        sums_CD = np.zeros((len(names), self._snapshot.embeddings_ND.shape[1]))
        for start in range(0, len(codes_N), CHUNK):
            codes_R = codes_N[start : start + CHUNK]
            order_R = np.argsort(codes_R, kind="stable")
            present, firsts = np.unique(codes_R[order_R], return_index=True)
            rows_RD = np.asarray(self._snapshot.embeddings_ND[start : start + CHUNK], np.float64)
            sums_CD[present] += np.add.reduceat(rows_RD[order_R], firsts, axis=0)
        return dict(zip(names.tolist(), sums_CD, strict=True))

    @cached_property
    def mean_cosine(self) -> float:
        """Mean cosine of two different videos of the snapshot; 0 if it has fewer than two."""
        return mean_cosine_of(np.sum(list(self.sums.values()), axis=0), len(self._snapshot.ids))

    @cached_property
    def codes_N(self) -> NDArray[np.int64]:
        """The code of each video in the user tower, 0 for one without."""
        users = self._snapshot.users
        return np.zeros(len(self._snapshot), np.int64) if users is None else users.codes_of(self._snapshot.ids)

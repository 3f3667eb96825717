"""Videos for a user vector: their embeddings and, for videos that were watched in training, what their ids add."""

from dataclasses import dataclass
from itertools import islice

import numpy as np
from numpy.typing import NDArray

from rayreel.recommendation.candidates import FIRST, Constraints, IndexSearch, RankedCandidates, descending
from rayreel.recommendation.live import Live
from rayreel.tower.user import UserVector

STAGE = "user"


@dataclass(frozen=True, slots=True)
class PersonalSearch:
    """Scores videos for a user vector of the release's user tower.

    `index`: a search for the content part of the vector. Without one, every video is scored, and results are exact;
    with one, its results and all videos that have a code.
    """

    live: Live
    user: UserVector
    index: IndexSearch | None = None

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` best allowed videos, or all if there are fewer."""
        live, base = self.live, self.live.base
        scores_P = np.full(base + len(live.overlay.rows), -np.inf, np.float32)
        if self.index is None:
            scores_P[:base] = live.embeddings_ND @ self.user.content_D
            scores_P[base:] = live.overlay.embeddings_MD @ self.user.content_D
        else:
            near = self.index.nearest(max(FIRST, 2 * count), constraints).places
            scores_P[near] = live.vectors(near) @ self.user.content_D
        self._add_by_code(scores_P)
        scores_P[list(live.hidden)] = -np.inf
        places = (place for place in descending(scores_P, max(FIRST, 2 * count)) if constraints.allows(live, place))
        kept = list(islice(places, count))
        return RankedCandidates(kept, scores_P[kept].tolist(), [STAGE] * len(kept))

    def _add_by_code(self, scores_P: NDArray[np.float32]) -> None:
        places_K, codes_K = self.live.coded_places
        new = places_K[~np.isfinite(scores_P[places_K])].tolist()
        scores_P[new] = self.live.vectors(new) @ self.user.content_D
        scores_P[places_K] += self.user.by_code_K[codes_K]

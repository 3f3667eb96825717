"""Neighbours computed when the release was built, corrected for later changes."""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from rayreel.recommendation.candidates import Constraints, RankedCandidates, merged, overlay_candidates
from rayreel.recommendation.live import Live


@dataclass(frozen=True, slots=True)
class StoredNeighbours:
    """The stored neighbours of one video of the snapshot. Never blocks: everything is in memory.

    A result is exact, equal to comparing the video with every other, or None. Videos missing from the stored list are
    no nearer than its last entry, so the best `count` of list and overlay are the best of all if the last of them is
    at least as near as that entry. Deleted, filtered and excluded videos can use up the list before that.
    """

    live: Live
    place: int

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates | None:
        """Return the `count` nearest allowed videos, or all if there are fewer; None if the list is too short."""
        live = self.live
        complete = live.neighbours_NK.shape[1] == live.base - 1
        found = self._from_list(count, constraints)
        short = len(found.places) < count
        if live.overlay.rows:
            # A farther video cannot be among the best, or cannot be known to be.
            min_score = found.scores[-1] if not short else -np.inf if complete else live.scores_NK[self.place, -1]
            added = overlay_candidates(live, live.vector(self.place), count, constraints, min_score)
            found = merged(found, added, count)
        return found if complete or len(found.places) == count else None

    def _from_list(self, count: int, constraints: Constraints) -> RankedCandidates:
        live, hidden, place = self.live, self.live.hidden, self.place
        if constraints.allow_all and not hidden:
            places, scores = live.neighbours_NK[place, :count].tolist(), live.scores_NK[place, :count].tolist()
            return RankedCandidates(places, scores, ["neighbours"] * len(places))
        listed = zip(live.neighbours_NK[place].tolist(), live.scores_NK[place].tolist(), strict=True)
        allowed = (pair for pair in listed if pair[0] not in hidden and constraints.allows(live, pair[0]))
        kept = list(islice(allowed, count))
        return RankedCandidates([near for near, _ in kept], [score for _, score in kept], ["neighbours"] * len(kept))

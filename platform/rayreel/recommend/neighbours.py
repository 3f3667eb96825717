"""Neighbours that were computed when the release was built, corrected by what has changed since."""

from dataclasses import dataclass
from itertools import islice

import numpy as np

from rayreel.recommend.candidates import Candidates, Wanted, merged, overlay_candidates
from rayreel.recommend.live import Live


@dataclass(frozen=True, slots=True)
class Neighbours:
    """The neighbours of one video of the snapshot. Never blocks: everything is in memory.

    Answers are exact, equal to comparing the video with every other, or there is none. What the kept list leaves out is
    no nearer than its last entry, so the best so many of list and overlay are the best of all as soon as the last
    of them is no farther than that entry. Deleted, filtered and excluded videos can eat a list up before.
    """

    live: Live
    place: int

    def nearest(self, count: int, wanted: Wanted) -> Candidates | None:
        """The `count` nearest that are wanted, fewer only when there are; None where the list is used up before."""
        live = self.live
        complete = live.neighbours_NK.shape[1] == live.base - 1
        found = self._listed(count, wanted)
        short = len(found.places) < count
        if live.overlay.rows:
            # What is farther than this is of no use: it cannot be among the best, or not be known to be.
            reach = found.scores[-1] if not short else -np.inf if complete else live.scores_NK[self.place, -1]
            found = merged(found, overlay_candidates(live, live.vector(self.place), count, wanted, reach), count)
        return found if complete or len(found.places) == count else None

    def _listed(self, count: int, wanted: Wanted) -> Candidates:
        live, hidden, place = self.live, self.live.hidden, self.place
        if wanted.anything and not hidden:
            places, scores = live.neighbours_NK[place, :count].tolist(), live.scores_NK[place, :count].tolist()
            return Candidates(places, scores, ["neighbours"] * len(places))
        listed = zip(live.neighbours_NK[place].tolist(), live.scores_NK[place].tolist(), strict=True)
        allowed = (pair for pair in listed if pair[0] not in hidden and wanted.allows(live, pair[0]))
        kept = list(islice(allowed, count))
        return Candidates([near for near, _ in kept], [score for _, score in kept], ["neighbours"] * len(kept))

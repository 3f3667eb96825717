"""Candidates: what may be recommended, and which of two lists is nearer."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import numpy as np

from rayreel.index.collection import CATEGORY_BYTES
from rayreel.index.conditions import And, Filter, Not, OneOf, shortened
from rayreel.index.filters import matches
from rayreel.recommend.facts import NO, YES
from rayreel.recommend.live import Live
from rayreel.recommend.query import Options, Vector


@dataclass(frozen=True, slots=True)
class Candidates:
    """Places and scores, best first, and the stage that gave each."""

    places: list[int]
    scores: list[float]
    stages: list[str]

    def take(self, order: Sequence[int]) -> "Candidates":
        """These of them, in this order."""
        columns = self.places, self.scores, self.stages
        return Candidates(*([column[i] for i in order] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Wanted:
    """What a result must be: none of `exclude`, of no category in `not_of`, and as the filter says."""

    exclude: frozenset[str] = frozenset()
    not_of: frozenset[str] = frozenset()
    filter: Filter | None = None
    verdicts: bytearray = field(default_factory=bytearray)

    @classmethod
    def by(
        cls, live: Live, options: Options, exclude: frozenset[str] = frozenset(), home: frozenset[str] = frozenset()
    ) -> "Wanted":
        """What the options ask for: `exclude` beside theirs, and not of the home categories where those are out."""
        verdicts = bytearray() if options.filter is None else live.verdicts(options.filter)
        not_of = home if options.cross_category else frozenset()
        return cls(options.exclude | exclude, not_of, options.filter, verdicts)

    def elsewhere(self, home: frozenset[str]) -> "Wanted":
        """The same, and not of the home categories."""
        return replace(self, not_of=self.not_of | home)

    @property
    def anything(self) -> bool:
        """Whether every video is."""
        return self.filter is None and not self.exclude and not self.not_of

    def allows(self, live: Live, place: int) -> bool:
        """Whether the video at a place may be recommended."""
        row = live.row(place)
        if row.video_id in self.exclude or row.category in self.not_of:
            return False
        if self.filter is None:
            return True
        if place >= len(self.verdicts):
            return matches(self.filter, row.fields())
        if not self.verdicts[place]:
            self.verdicts[place] = YES if matches(self.filter, row.fields()) else NO
        return self.verdicts[place] == YES

    def as_filter(self) -> Filter | None:
        """What the index has to filter by, beside excluding ids."""
        if not self.not_of:
            return self.filter
        at_home = tuple(sorted(shortened(category, CATEGORY_BYTES) for category in self.not_of))
        away = Not(condition=OneOf(field="category", values=at_home))
        return away if self.filter is None else And(conditions=(self.filter, away))


class Source(Protocol):
    """A way to find the videos nearest to one query."""

    def nearest(self, count: int, wanted: Wanted) -> Candidates | None:
        """The `count` nearest that are wanted, fewer only when there are; None where this way cannot tell."""
        ...


def overlay_candidates(live: Live, query_D: Vector, count: int, wanted: Wanted, reach: float = -np.inf) -> Candidates:
    """The best `count` of the overlay that are wanted and score at least `reach`, best first.

    The overlay is short, so all of it is compared with the query.
    """
    scores_M = live.overlay.embeddings_MD @ query_D
    near_M = np.flatnonzero(scores_M >= reach)
    order = near_M[np.argsort(-scores_M[near_M], kind="stable")].tolist()
    kept = list(islice((place for place in order if wanted.allows(live, live.base + place)), count))
    return Candidates([live.base + place for place in kept], scores_M[kept].tolist(), ["overlay"] * len(kept))


def merged(one: Candidates, other: Candidates, count: int) -> Candidates:
    """The best `count` of both, best first; among equals those of `one` come first."""
    joined = Candidates(one.places + other.places, one.scores + other.scores, one.stages + other.stages)
    order = sorted(range(len(joined.places)), key=joined.scores.__getitem__, reverse=True)
    return joined.take(order[:count])

"""Candidates: the videos that may be recommended, with their scores."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import numpy as np

from rayreel.index.collection import CATEGORY_BYTES
from rayreel.index.conditions import And, Filter, Not, OneOf, shortened
from rayreel.index.filters import matches
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options, Vector
from rayreel.recommendation.statistics import NO, YES


@dataclass(frozen=True, slots=True)
class RankedCandidates:
    """Places and scores, best first, and the stage that found each."""

    places: list[int]
    scores: list[float]
    stages: list[str]

    def take(self, order: Sequence[int]) -> "RankedCandidates":
        """Return the candidates at these positions, in this order."""
        columns = self.places, self.scores, self.stages
        return RankedCandidates(*([column[i] for i in order] for column in columns))  # type: ignore[arg-type]


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a result must satisfy: not in `exclude`, not of a category in `excluded_categories`, and passing `filter`.

    `verdicts` are the filter's known results by place; `allows` adds to them.
    """

    exclude: frozenset[str] = frozenset()
    excluded_categories: frozenset[str] = frozenset()
    filter: Filter | None = None
    verdicts: bytearray = field(default_factory=bytearray)

    @classmethod
    def of(
        cls, live: Live, options: Options, exclude: frozenset[str] = frozenset(), home: frozenset[str] = frozenset()
    ) -> "Constraints":
        """Return the constraints of the options; `exclude` adds ids, and `cross_category` excludes `home`."""
        verdicts = bytearray() if options.filter is None else live.verdicts(options.filter)
        excluded_categories = home if options.cross_category else frozenset()
        return cls(options.exclude | exclude, excluded_categories, options.filter, verdicts)

    def excluding_categories(self, categories: frozenset[str]) -> "Constraints":
        """Return the same constraints with more categories excluded."""
        return replace(self, excluded_categories=self.excluded_categories | categories)

    @property
    def allow_all(self) -> bool:
        """Whether every video satisfies them."""
        return self.filter is None and not self.exclude and not self.excluded_categories

    def allows(self, live: Live, place: int) -> bool:
        """Whether the video at a place may be recommended."""
        row = live.row(place)
        if row.video_id in self.exclude or row.category in self.excluded_categories:
            return False
        if self.filter is None:
            return True
        if place >= len(self.verdicts):
            return matches(self.filter, row.fields())
        if not self.verdicts[place]:
            self.verdicts[place] = YES if matches(self.filter, row.fields()) else NO
        return self.verdicts[place] == YES

    def as_filter(self) -> Filter | None:
        """Return the filter to pass to the index, which takes excluded ids separately."""
        if not self.excluded_categories:
            return self.filter
        excluded = tuple(sorted(shortened(category, CATEGORY_BYTES) for category in self.excluded_categories))
        elsewhere = Not(condition=OneOf(field="category", values=excluded))
        return elsewhere if self.filter is None else And(conditions=(self.filter, elsewhere))


class Source(Protocol):
    """A way to find the videos nearest to one query."""

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates | None:
        """Return the `count` nearest allowed videos, or all if there are fewer; None if this source has no answer."""
        ...


def overlay_candidates(
    live: Live, query_D: Vector, count: int, constraints: Constraints, min_score: float = -np.inf
) -> RankedCandidates:
    """Return the best `count` allowed videos of the overlay that score at least `min_score`, best first.

    The overlay is short, so the query is compared with all of it.
    """
    scores_M = live.overlay.embeddings_MD @ query_D
    near_M = np.flatnonzero(scores_M >= min_score)
    order = near_M[np.argsort(-scores_M[near_M], kind="stable")].tolist()
    kept = list(islice((place for place in order if constraints.allows(live, live.base + place)), count))
    return RankedCandidates([live.base + place for place in kept], scores_M[kept].tolist(), ["overlay"] * len(kept))


def merged(one: RankedCandidates, other: RankedCandidates, count: int) -> RankedCandidates:
    """Return the best `count` of both lists, best first; for equal scores, those of `one` come first."""
    joined = RankedCandidates(one.places + other.places, one.scores + other.scores, one.stages + other.stages)
    order = sorted(range(len(joined.places)), key=joined.scores.__getitem__, reverse=True)
    return joined.take(order[:count])

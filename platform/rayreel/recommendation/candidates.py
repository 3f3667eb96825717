"""Candidates: the videos that may be recommended, with their scores."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from itertools import islice
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from rayreel.index.collection import CATEGORY_BYTES
from rayreel.index.conditions import And, Filter, Not, OneOf, shortened
from rayreel.index.filters import matches
from rayreel.index.search import MAX_HITS, Hit
from rayreel.index.syntax import WordQuery
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options, Vector
from rayreel.recommendation.snapshot_statistics import NO, YES
from rayreel.recommendation.wording import with_phrases

FIRST = 512
# Cosines computed by the index and by NumPy differ by rounding.
ROUNDING = 1e-5
# Videos with matching words whose cosines are computed: 4096 x 512 take a millisecond or two.
MAX_MATCHES = 4096


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


NOTHING = RankedCandidates([], [], [])


@dataclass(frozen=True, slots=True)
class Constraints:
    """What a result must satisfy: not in `exclude`, not of a category in `excluded_categories`, and passing `filter`.

    `verdicts` are the filter's known results by place; `allows` adds to them. `threshold`: the lowest cosine with the
    query, for sources whose order is another; from the others, the caller takes the results down to it.
    """

    exclude: frozenset[str] = frozenset()
    excluded_categories: frozenset[str] = frozenset()
    filter: Filter | None = None
    verdicts: bytearray = field(default_factory=bytearray)
    threshold: float = -np.inf

    @classmethod
    def of(
        cls, live: Live, options: Options, exclude: frozenset[str] = frozenset(), home: frozenset[str] = frozenset()
    ) -> "Constraints":
        """Return the constraints of the options; `exclude` adds ids, and `cross_category` excludes `home`."""
        verdicts = bytearray() if options.filter is None else live.verdicts(options.filter)
        excluded_categories = home if options.cross_category else frozenset()
        threshold = -np.inf if options.threshold is None else options.threshold
        return cls(options.exclude | exclude, excluded_categories, options.filter, verdicts, threshold)

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


@dataclass(frozen=True, slots=True)
class ExactSearch:
    """Compares one unit query with every video of the release."""

    live: Live
    query_D: Vector

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` nearest allowed videos, or all if there are fewer."""
        live = self.live
        scores_N = live.embeddings_ND @ self.query_D
        scores_N[list(live.hidden)] = -np.inf
        if constraints.verdicts:
            scores_N[np.frombuffer(constraints.verdicts, np.uint8) == NO] = -np.inf
        places = (place for place in descending(scores_N, max(FIRST, 2 * count)) if constraints.allows(live, place))
        kept = list(islice(places, count))
        found = RankedCandidates(kept, scores_N[kept].tolist(), ["index"] * len(kept))
        return merged(found, overlay_candidates(live, self.query_D, count, constraints), count)


def descending(scores_N: NDArray[np.float32], first: int) -> Iterator[int]:
    """Yield places by falling score, except those at minus infinity. Sorts the rest only if `first` are consumed."""
    if first < len(scores_N):
        top_P = np.argpartition(-scores_N, first)[:first]
        yield from _sorted(scores_N, top_P)
        rest_N = np.ones(len(scores_N), bool)
        rest_N[top_P] = False
        yield from _sorted(scores_N, np.flatnonzero(rest_N))
    else:
        yield from _sorted(scores_N, np.arange(len(scores_N)))


def _sorted(scores_N: NDArray[np.float32], places_P: NDArray[np.int64]) -> list[int]:
    finite_P = places_P[np.isfinite(scores_N[places_P])]
    order: list[int] = finite_P[np.argsort(-scores_N[finite_P], kind="stable")].tolist()
    return order


class Searcher(Protocol):
    """A searchable index of releases, such as `VideoIndex`."""

    def search(
        self,
        embedding: Vector,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        """Return the `top_k` videos nearest to the unit embedding, best first."""
        ...


@dataclass(frozen=True, slots=True)
class IndexSearch:
    """Searches the index with one unit query; scores are cosines with the vectors in the replica.

    Hits that were deleted or changed since, or that the replica does not know yet, are dropped; the query is compared
    with the overlay here. If too few remain, a larger search follows.
    """

    live: Live
    index: Searcher
    collection: str
    query_D: Vector

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` nearest allowed videos, or all if there are fewer."""
        added = overlay_candidates(self.live, self.query_D, count, constraints)
        limit = count
        while True:
            hits = self._hits(limit, constraints)
            found = merged(self._known(hits, constraints), added, count)
            reached = len(found.places) == count and found.scores[-1] >= hits[-1].score - ROUNDING if hits else True
            if reached or len(hits) < limit or limit == MAX_HITS:
                return found
            limit = min(4 * limit, MAX_HITS)

    def _hits(self, limit: int, constraints: Constraints) -> list[Hit]:
        excluded, narrowed = sorted(constraints.exclude), constraints.as_filter()
        return self.index.search(self.query_D, limit, excluded, filter=narrowed, collection=self.collection)

    def _known(self, hits: Sequence[Hit], constraints: Constraints) -> RankedCandidates:
        live = self.live
        found = (live.find(hit.video_id) for hit in hits)
        places = [p for p in found if p is not None and p < live.base and constraints.allows(live, p)]
        scores = (live.vectors(places) @ self.query_D).tolist()
        return RankedCandidates(places, scores, ["index"] * len(places))


@dataclass(frozen=True, slots=True)
class HybridSearch:
    """Adds the match of the words to the cosine of a search by embedding; exact up to MAX_MATCHES matching videos.

    A score is cosine + weight x match, the convex combination of both up to a factor. So a video without a matching
    word keeps its cosine, and a query whose words match nothing is answered as the search by embedding answers it.
    If the query has phrases, only videos that have them are allowed: MAX_MATCHES of those that have all their words.
    """

    dense: ExactSearch | IndexSearch
    words: WordQuery
    weight: float

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` best allowed videos, or all if there are fewer.

        The stage of those that are not among the best by embedding is bm25.
        """
        live = self.dense.live
        by_embedding = NOTHING if self.words.phrases else self.dense.nearest(count, constraints)
        match_P = live.matches(self.words)
        places = [place for place in _most(match_P, MAX_MATCHES) if constraints.allows(live, place)]
        if self.words.phrases:
            places = with_phrases(live, self.words, places)
        cosines_M = live.vectors(places) @ self.dense.query_D
        near_M = cosines_M >= constraints.threshold
        places, cosines_M = np.asarray(places, np.int64)[near_M].tolist(), cosines_M[near_M]
        listed = dict(zip(by_embedding.places, by_embedding.stages, strict=True))
        by_words = RankedCandidates(
            places,
            (cosines_M + self.weight * match_P[places]).tolist(),
            [listed.get(place, "bm25") for place in places],
        )
        matching = set(places)
        others = by_embedding.take([i for i, place in enumerate(by_embedding.places) if place not in matching])
        return merged(by_words, others, count)


def _most(match_P: NDArray[np.float32], count: int) -> list[int]:
    """Places of the `count` best matches above zero."""
    found_M = np.flatnonzero(match_P)
    if len(found_M) > count:
        found_M = found_M[np.argpartition(-match_P[found_M], count)[:count]]
    places: list[int] = found_M.tolist()
    return places

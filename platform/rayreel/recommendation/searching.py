"""Candidates from the index, checked against the replica's own data."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rayreel.index.filters import Filter
from rayreel.index.search import FUSION_DEPTH, MAX_HITS, RRF_K, Hit
from rayreel.recommendation.candidates import Constraints, RankedCandidates, merged, overlay_candidates
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Vector

# Cosines computed by the index and by NumPy differ by rounding.
ROUNDING = 1e-5


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

    def hybrid(
        self,
        embedding: Vector,
        text: str,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        """Return the `top_k` best of the fused rankings by embedding and by words."""
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
            hits = self.hits(limit, constraints)
            found = merged(self._known(hits, constraints), added, count)
            reached = len(found.places) == count and found.scores[-1] >= hits[-1].score - ROUNDING if hits else True
            if reached or len(hits) < limit or limit == MAX_HITS:
                return found
            limit = min(4 * limit, MAX_HITS)

    def hits(self, limit: int, constraints: Constraints) -> list[Hit]:
        """Return the index's own ranking, not checked against the replica."""
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
    """Searches the index with a unit query and words; scores and order are those of reciprocal rank fusion.

    Videos of the overlay are in the index too, and only the index can rank them by words, so none are added here.
    """

    dense: IndexSearch
    text: str
    explain: bool = False

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates:
        """Return the `count` best allowed videos, or all if there are fewer."""
        live, limit = self.dense.live, count
        while True:
            hits = self._hits(limit, constraints)
            found = [(live.find(hit.video_id), hit.score) for hit in hits]
            kept = [(place, score) for place, score in found if place is not None and constraints.allows(live, place)]
            if len(kept) >= count or len(hits) < limit or limit == MAX_HITS:
                return self._with_stages(kept[:count], constraints, limit)
            limit = min(4 * limit, MAX_HITS)

    def _hits(self, limit: int, constraints: Constraints) -> list[Hit]:
        dense, excluded, narrowed = self.dense, sorted(constraints.exclude), constraints.as_filter()
        return dense.index.hybrid(
            dense.query_D, self.text, limit, excluded, filter=narrowed, collection=dense.collection
        )

    def _with_stages(self, kept: Sequence[tuple[int, float]], constraints: Constraints, depth: int) -> RankedCandidates:
        """Add the stages: bm25 if the words contributed more to the score than the embedding. Only for `explain`."""
        stages = ["index"] * len(kept)
        if self.explain:
            hits = enumerate(self.dense.hits(max(depth, FUSION_DEPTH), constraints), start=1)
            by_embedding = {self.dense.live.find(hit.video_id): 1 / (RRF_K + rank) for rank, hit in hits}
            stages = ["bm25" if score > 2 * by_embedding.get(place, 0.0) else "index" for place, score in kept]
        return RankedCandidates([place for place, _ in kept], [score for _, score in kept], stages)

"""Candidates from the index: it proposes, and what a replica knows to be true decides."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rayreel.index.filters import Filter
from rayreel.index.search import FUSION_DEPTH, MOST, RRF_K, Hit
from rayreel.recommend.candidates import Candidates, Wanted, merged, overlay_candidates
from rayreel.recommend.live import Live
from rayreel.recommend.query import Vector

# Cosines of the index and of numpy differ by rounding.
ROUNDING = 1e-5


class Searcher(Protocol):
    """An index of releases: `VideoIndex`, or one in memory."""

    def search(
        self,
        embedding: Vector,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> list[Hit]:
        """The `top_k` videos nearest to the unit embedding, best first."""
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
        """The `top_k` best of the joined rankings by embedding and by words."""
        ...


@dataclass(frozen=True, slots=True)
class Nearest:
    """The index asked with one unit query; scores are cosines with the vectors that the replica holds.

    Of the hits, those deleted or changed since, and those not known yet, are dropped; videos of the overlay are
    compared here. When that leaves too few, the index is asked for more.
    """

    live: Live
    index: Searcher
    collection: str
    query_D: Vector

    def nearest(self, count: int, wanted: Wanted) -> Candidates:
        """The `count` nearest that are wanted, fewer only when there are."""
        added = overlay_candidates(self.live, self.query_D, count, wanted)
        ask = count
        while True:
            hits = self.hits(ask, wanted)
            found = merged(self._known(hits, wanted), added, count)
            reached = len(found.places) == count and found.scores[-1] >= hits[-1].score - ROUNDING if hits else True
            if reached or len(hits) < ask or ask == MOST:
                return found
            ask = min(4 * ask, MOST)

    def hits(self, ask: int, wanted: Wanted) -> list[Hit]:
        """What the index proposes."""
        excluded, narrowed = sorted(wanted.exclude), wanted.as_filter()
        return self.index.search(self.query_D, ask, excluded, filter=narrowed, collection=self.collection)

    def _known(self, hits: Sequence[Hit], wanted: Wanted) -> Candidates:
        live = self.live
        found = (live.find(hit.video_id) for hit in hits)
        places = [place for place in found if place is not None and place < live.base and wanted.allows(live, place)]
        scores = (live.vectors(places) @ self.query_D).tolist()
        return Candidates(places, scores, ["index"] * len(places))


@dataclass(frozen=True, slots=True)
class Joined:
    """The index asked with a unit query and its words; scores are RRF's, in its order.

    Videos of the overlay are in the index too, and only it can rank them by their words: nothing is added here.
    """

    dense: Nearest
    text: str
    explain: bool = False

    def nearest(self, count: int, wanted: Wanted) -> Candidates:
        """The `count` best that are wanted, fewer only when there are."""
        live, ask = self.dense.live, count
        while True:
            hits = self._hits(ask, wanted)
            found = [(live.find(hit.video_id), hit.score) for hit in hits]
            kept = [(place, score) for place, score in found if place is not None and wanted.allows(live, place)]
            if len(kept) >= count or len(hits) < ask or ask == MOST:
                return self._staged(kept[:count], wanted, ask)
            ask = min(4 * ask, MOST)

    def _hits(self, ask: int, wanted: Wanted) -> list[Hit]:
        dense, excluded, narrowed = self.dense, sorted(wanted.exclude), wanted.as_filter()
        return dense.index.hybrid(dense.query_D, self.text, ask, excluded, filter=narrowed, collection=dense.collection)

    def _staged(self, kept: Sequence[tuple[int, float]], wanted: Wanted, depth: int) -> Candidates:
        """Give the stages: bm25 for those whom the words brought further than the embedding; asked only to explain."""
        stages = ["index"] * len(kept)
        if self.explain:
            hits = enumerate(self.dense.hits(max(depth, FUSION_DEPTH), wanted), start=1)
            given = {self.dense.live.find(hit.video_id): 1 / (RRF_K + rank) for rank, hit in hits}
            stages = ["bm25" if score > 2 * given.get(place, 0.0) else "index" for place, score in kept]
        return Candidates([place for place, _ in kept], [score for _, score in kept], stages)

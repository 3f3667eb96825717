"""Recommendations for a video of the release, a query vector or a user."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayreel.recommendation.candidates import Constraints, RankedCandidates, Source
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.diversity import select_diverse
from rayreel.recommendation.exact import ExactSearch
from rayreel.recommendation.explain import explanations
from rayreel.recommendation.live import Live
from rayreel.recommendation.neighbours import StoredNeighbours
from rayreel.recommendation.query import BadQuery, Options, Vector
from rayreel.recommendation.results import RankedResults, RankedVideo, ResultExplanation
from rayreel.recommendation.searching import HybridSearch, IndexSearch, Searcher
from rayreel.recommendation.serendipity import required_outsiders, with_outsiders
from rayreel.recommendation.users import Interests, WatchedVideo, taste
from rayreel.recommendation.weights import weighted_query

__all__ = [
    "BadQuery",
    "Options",
    "PinnedRelease",
    "RankedResults",
    "RankedVideo",
    "ResultExplanation",
    "Searcher",
    "WatchedVideo",
    "by_id",
    "by_id_fast",
    "by_user",
    "by_vector",
]

# Home categories of a query without a category: no video is outside them.
NO_HOME: frozenset[str] = frozenset()
# Comparing more candidates with each other takes milliseconds.
FAST_POOL = 100
NO_WORDS = "A hybrid search needs words, and this query has none. Query by text, or by a video with a title."


@dataclass(frozen=True, slots=True)
class PinnedRelease:
    """The release that a request is pinned to: the replica's copy and its collection in the index.

    A release of at most `config.exact_cells` numbers is compared with the query here; larger releases and searches by
    words use the index.
    """

    live: Live
    index: Searcher
    collection: str
    config: RecommendConfig

    def nearest(self, query_D: Vector) -> ExactSearch | IndexSearch:
        """Return a source of the videos nearest to a query."""
        if self.live.embeddings_ND.size <= self.config.exact_cells:
            return ExactSearch(self.live, query_D)
        return IndexSearch(self.live, self.index, self.collection, query_D)

    def hybrid(self, query_D: Vector, text: str | None, options: Options) -> HybridSearch:
        """Return a source of the videos nearest to a query and its words. Raises BadQuery if there are no words."""
        if not text:
            raise BadQuery(NO_WORDS)
        return HybridSearch(IndexSearch(self.live, self.index, self.collection, query_D), text, options.explain)


def by_id_fast(live: Live, video_id: str, options: Options) -> RankedResults | None:
    """Return videos like one of the release from memory alone, or None if only `by_id` can answer.

    Never blocks and takes microseconds, so it may run inside an event loop. Results are exact.

    Raises:
        UnknownVideo: the release does not have the video.
    """
    place = live.place(video_id)
    if place >= live.base or options.weights is not None or options.hybrid:
        return None
    if options.diversity and options.pool() > FAST_POOL:
        return None
    return _ranked(live, StoredNeighbours(live, place), options, live.vector(place), home=_home(live, place))


def by_id(release: PinnedRelease, video_id: str, options: Options) -> RankedResults:
    """Return videos like one of the release, without itself. May block.

    With `weights` the query is mixed from the video's single-modality embeddings; with `hybrid` its title is the words.

    Raises:
        UnknownVideo: the release does not have the video.
        BadQuery: the weights leave nothing of it, or it has no title for `hybrid`.
    """
    live = release.live
    if (results := by_id_fast(live, video_id, options)) is not None:
        return results
    place = live.place(video_id)
    query_D = live.vector(place) if options.weights is None else weighted_query(live.parts(place), options.weights)
    source = release.hybrid(query_D, live.row(place).title, options) if options.hybrid else release.nearest(query_D)
    home, exclude = _home(live, place), frozenset((video_id,))
    return _not_none(_ranked(live, source, options, query_D, home=home, exclude=exclude))


def by_vector(release: PinnedRelease, query_D: Vector, options: Options, text: str | None = None) -> RankedResults:
    """Return videos near a unit query encoded by this release's tower; `text` is its words, for `hybrid`. Blocks.

    Such a query has no category of its own: for `cross_category` and `serendipity` it takes the nearest video's.
    `options.weights` are ignored: the caller applies them when it makes the query.

    Raises:
        BadQuery: `hybrid` without words.
    """
    live = release.live
    source = release.hybrid(query_D, text, options) if options.hybrid else release.nearest(query_D)
    home = NO_HOME
    if options.cross_category or options.serendipity:
        home = _home(live, *source.nearest(1, Constraints.of(live, options)).places)
    return _not_none(_ranked(live, source, options, query_D, home=home))


def by_user(
    release: PinnedRelease, history: Sequence[WatchedVideo], liked: Sequence[str], options: Options
) -> RankedResults:
    """Return videos for a user's watch history and liked categories, without the watched videos. Blocks.

    Each interest costs a search. See `users.taste`.

    Raises:
        BadQuery: the release has nothing of the history and the categories; or `hybrid`, as there are no words.
    """
    if options.hybrid:
        raise BadQuery(NO_WORDS)
    found = taste(release.live, history, liked, release.config, options.weights)
    source = Interests([release.nearest(interest_D) for interest_D in found.queries_ID], found.shares)
    watched = frozenset(video.video_id for video in history)
    return _not_none(_ranked(release.live, source, options, found.queries_ID, home=found.home, exclude=watched))


def _home(live: Live, *places: int) -> frozenset[str]:
    """The categories of videos; the empty string is no category."""
    return frozenset(live.row(place).category for place in places) - {""}


def _ranked(
    live: Live,
    source: Source,
    options: Options,
    query: Vector,
    *,
    home: frozenset[str],
    exclude: frozenset[str] = frozenset(),
) -> RankedResults | None:
    """Results from a source, or None if it has no answer. `query`: [dim], or one per interest [I, dim]."""
    constraints = Constraints.of(live, options, exclude, home)
    pool = source.nearest(options.pool(), constraints)
    chosen = None if pool is None else _diverse(live, pool, options)
    if chosen is not None and options.serendipity and home:
        chosen = _serendipitous(live, source, chosen, options, constraints.excluding_categories(home))
    return None if chosen is None else RankedResults(live.version, _results(live, chosen, options, query))


def _diverse(live: Live, pool: RankedCandidates, options: Options) -> RankedCandidates:
    """Select the results from a pool. The stage of those not among the best by score alone is mmr."""
    if not options.diversity:
        return pool
    relevance_P = np.asarray(pool.scores, np.float32)
    if options.hybrid and pool.scores:
        relevance_P /= relevance_P.max()  # RRF scores are tiny compared with the cosines they are weighed against
    order = select_diverse(relevance_P, live.vectors(pool.places), options.top_k, options.diversity)
    chosen = pool.take(order)
    stages = ["mmr" if rank >= options.top_k else stage for rank, stage in zip(order, chosen.stages, strict=True)]
    return RankedCandidates(chosen.places, chosen.scores, stages)


def _serendipitous(
    live: Live, source: Source, chosen: RankedCandidates, options: Options, outside: Constraints
) -> RankedCandidates | None:
    required = required_outsiders(options.serendipity, options.top_k)
    is_outsider = [live.row(place).category not in outside.excluded_categories for place in chosen.places]
    if sum(is_outsider) >= required:
        return chosen
    # All that are required, even if some are chosen already.
    others = source.nearest(required, outside)
    return None if others is None else with_outsiders(chosen, is_outsider, others, required)


def _results(live: Live, chosen: RankedCandidates, options: Options, query: Vector) -> list[RankedVideo]:
    explained: Sequence[ResultExplanation | None] = [None] * len(chosen.places)
    if options.explain:
        explained = explanations(live, chosen.places, chosen.stages, query)
    results = []
    for place, score, explanation in zip(chosen.places, chosen.scores, explained, strict=True):
        row = live.row(place)
        results.append(RankedVideo(row.video_id, score, row.title, row.category, row.tags, row.extra, explanation))
    return results


def _not_none(results: RankedResults | None) -> RankedResults:
    assert results is not None, "an index search always returns results"
    return results

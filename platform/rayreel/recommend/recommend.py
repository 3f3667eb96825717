"""Answers: by a video of the release, by a vector, by a user."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rayreel.recommend.answer import Answer, Explanation, Found
from rayreel.recommend.candidates import Candidates, Source, Wanted
from rayreel.recommend.diversity import most_different
from rayreel.recommend.exact import EXACT_CELLS, Everything
from rayreel.recommend.explain import explanations
from rayreel.recommend.live import Live
from rayreel.recommend.neighbours import Neighbours
from rayreel.recommend.query import BadQuery, Options, Vector
from rayreel.recommend.searching import Joined, Nearest, Searcher
from rayreel.recommend.serendipity import mixed, outsiders
from rayreel.recommend.users import Interests, Watched, taste
from rayreel.recommend.weights import mixture

__all__ = [
    "Answer",
    "BadQuery",
    "Explanation",
    "Found",
    "Options",
    "Searcher",
    "Watched",
    "by_id",
    "by_id_fast",
    "by_user",
    "by_vector",
]

# The category of who has none: nothing lies outside it.
NO_HOME: frozenset[str] = frozenset()
# Comparing more candidates with each other takes milliseconds.
FAST_POOL = 100
NO_WORDS = "A hybrid search joins an embedding with words, and there are none: ask by text."


def by_id_fast(live: Live, video_id: str, options: Options) -> Answer | None:
    """Videos like one of the release, from memory alone; None where the index has to be asked (`by_id` does).

    Never blocks, and takes microseconds: good inside an event loop. What it answers is exact.

    Raises:
        UnknownVideo: the release does not hold the video.
    """
    place = live.place(video_id)
    if place >= live.base or options.weights is not None or options.hybrid:
        return None
    if options.diversity and options.pool() > FAST_POOL:
        return None
    return _answer(live, Neighbours(live, place), options, live.vector(place), home=_home(live, place))


def by_id(
    live: Live, index: Searcher, collection: str, video_id: str, options: Options, *, exact_cells: int = EXACT_CELLS
) -> Answer:
    """Videos like one of the release, never itself. May block.

    With `weights` the query is mixed from the video's parts; with `hybrid` its title is the words.

    Raises:
        UnknownVideo: the release does not hold the video.
        BadQuery: the weights leave nothing of it, or it has no title for `hybrid`.
    """
    if answer := by_id_fast(live, video_id, options):
        return answer
    place = live.place(video_id)
    query_D = live.vector(place) if options.weights is None else mixture(live.parts(place), options.weights)
    asked = Asked(live, index, collection, exact_cells)
    source = asked.joined(query_D, live.row(place).title, options) if options.hybrid else asked.nearest(query_D)
    return _found(_answer(live, source, options, query_D, home=_home(live, place), exclude=frozenset((video_id,))))


def by_vector(  # noqa: PLR0917 - the release that a request is pinned to, the query, how to choose
    live: Live,
    index: Searcher,
    collection: str,
    query_D: Vector,
    options: Options,
    text: str | None = None,
    *,
    exact_cells: int = EXACT_CELLS,
) -> Answer:
    """Videos near a unit query, encoded by this release's tower; `text` are its words, for `hybrid`. Blocks.

    Such a query has no category of its own: for `cross_category` and `serendipity` it takes the nearest video's.
    `options.weights` are ignored: the caller applies them when it makes the query.

    Raises:
        BadQuery: `hybrid` without words.
    """
    asked = Asked(live, index, collection, exact_cells)
    source = asked.joined(query_D, text, options) if options.hybrid else asked.nearest(query_D)
    home = NO_HOME
    if options.cross_category or options.serendipity:
        nearest = source.nearest(1, Wanted.by(live, options))
        home = _home(live, *nearest.places) if nearest else NO_HOME
    return _found(_answer(live, source, options, query_D, home=home))


def by_user(  # noqa: PLR0917 - as above
    live: Live,
    index: Searcher,
    collection: str,
    history: Sequence[Watched],
    liked: Sequence[str],
    options: Options,
    *,
    exact_cells: int = EXACT_CELLS,
) -> Answer:
    """Videos for a user by what they watched and the categories they like, without what they watched. Blocks.

    Each interest costs a search, and there are at most eight. See `users.taste`.

    Raises:
        BadQuery: the release holds nothing of the history and of the categories; or `hybrid`, as there are no words.
    """
    if options.hybrid:
        raise BadQuery(NO_WORDS)
    found = taste(live, history, liked, options.weights)
    asked = Asked(live, index, collection, exact_cells)
    source = Interests([asked.nearest(interest_D) for interest_D in found.queries_ID], found.shares)
    watched = frozenset(video.video_id for video in history)
    return _found(_answer(live, source, options, found.queries_ID, home=found.home, exclude=watched))


@dataclass(frozen=True, slots=True)
class Asked:
    """The release that a request is pinned to: what the replica holds of it, and where the index has it.

    A release of at most `exact_cells` numbers is compared with the query here; the index is asked for larger ones, and
    for words.
    """

    live: Live
    index: Searcher
    collection: str
    exact_cells: int

    def nearest(self, query_D: Vector) -> Everything | Nearest:
        """Where the videos nearest to a query come from."""
        if self.live.embeddings_ND.size <= self.exact_cells:
            return Everything(self.live, query_D)
        return Nearest(self.live, self.index, self.collection, query_D)

    def joined(self, query_D: Vector, text: str | None, options: Options) -> Joined:
        """Where those nearest to a query and to its words come from."""
        if not text:
            raise BadQuery(NO_WORDS)
        return Joined(Nearest(self.live, self.index, self.collection, query_D), text, options.explain)


def _home(live: Live, *places: int) -> frozenset[str]:
    """The categories of videos; none is no category."""
    return frozenset(live.row(place).category for place in places) - {""}


def _answer(
    live: Live,
    source: Source,
    options: Options,
    query: Vector,
    *,
    home: frozenset[str],
    exclude: frozenset[str] = frozenset(),
) -> Answer | None:
    """Results from a source, or None where it cannot tell. `query`: [dim], or one per interest [I, dim]."""
    wanted = Wanted.by(live, options, exclude, home)
    pool = source.nearest(options.pool(), wanted)
    chosen = None if pool is None else _diverse(live, pool, options)
    if chosen is not None and options.serendipity and home:
        chosen = _serendipitous(live, source, chosen, options, wanted.elsewhere(home))
    return None if chosen is None else Answer(live.version, _results(live, chosen, options, query))


def _diverse(live: Live, pool: Candidates, options: Options) -> Candidates:
    """The results out of a pool. One that would not be among the best by its score alone is there thanks to MMR."""
    if not options.diversity:
        return pool
    relevance_P = np.asarray(pool.scores, np.float32)
    if options.hybrid and pool.scores:
        relevance_P /= relevance_P.max()  # RRF's scores are tiny beside the cosines that they are weighed against
    order = most_different(relevance_P, live.vectors(pool.places), options.top_k, options.diversity)
    chosen = pool.take(order)
    stages = ["mmr" if rank >= options.top_k else stage for rank, stage in zip(order, chosen.stages, strict=True)]
    return Candidates(chosen.places, chosen.scores, stages)


def _serendipitous(
    live: Live, source: Source, chosen: Candidates, options: Options, elsewhere: Wanted
) -> Candidates | None:
    need = outsiders(options.serendipity, options.top_k)
    away = [live.row(place).category not in elsewhere.not_of for place in chosen.places]
    if sum(away) >= need:
        return chosen
    # As many as are needed, even if some are chosen already.
    others = source.nearest(need, elsewhere)
    return None if others is None else mixed(chosen, away, others, need)


def _results(live: Live, chosen: Candidates, options: Options, query: Vector) -> list[Found]:
    why: Sequence[Explanation | None] = [None] * len(chosen.places)
    if options.explain:
        why = explanations(live, chosen.places, chosen.stages, query)
    results = []
    for place, score, explanation in zip(chosen.places, chosen.scores, why, strict=True):
        row = live.row(place)
        results.append(Found(row.video_id, score, row.title, row.category, row.tags, row.extra, explanation))
    return results


def _found(answer: Answer | None) -> Answer:
    assert answer is not None, "an index always answers"
    return answer

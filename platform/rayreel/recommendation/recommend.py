"""Answers to requests: recommendations for a video of the release, a query vector or a user."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from types import MappingProxyType
from typing import Any, TypeVar

import numpy as np
from pydantic import BaseModel, ValidationError

from rayreel.client.messages import RecommendOptions, RecommendRequest, User
from rayreel.encoders.encoder import Modality
from rayreel.features.metric import Metric
from rayreel.index.config import Language
from rayreel.index.filters import parse_filter
from rayreel.index.syntax import WordQuery, parse_query, plain_query
from rayreel.recommendation.because import with_reasons
from rayreel.recommendation.candidates import (
    Constraints,
    ExactSearch,
    HybridSearch,
    IndexSearch,
    Searcher,
    Source,
    StoredNeighbours,
)
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.expansion import expanded
from rayreel.recommendation.live import Live
from rayreel.recommendation.person import PersonState
from rayreel.recommendation.personal import PersonalSearch
from rayreel.recommendation.popular import Popularity, PopularVideos
from rayreel.recommendation.query import BadQuery, Options, Space, Vector, raw, unit, weighted_query
from rayreel.recommendation.results import RankedResults, RankedVideo, ResultExplanation, choose
from rayreel.recommendation.scenarios import Scenario
from rayreel.recommendation.space import SpaceSearch, vector_in
from rayreel.recommendation.users import Interests, Taste, WatchedVideo, has_taste, taste

M = TypeVar("M", bound=BaseModel)

# Home categories of a query without a category: no video is outside them.
NO_HOME: frozenset[str] = frozenset()
# Comparing more candidates with each other takes milliseconds.
FAST_POOL = 100
NO_WORDS = "A hybrid search needs words, and this query has none. Query by text, or by a video with a title."


@dataclass(frozen=True, slots=True)
class PinnedRelease:
    """The release that a request is pinned to: the replica's copy and its collection in the index.

    A release of at most `config.exact_cells` numbers is compared with the query here; larger releases use the index.
    Words are always searched here.
    """

    live: Live
    index: Searcher
    collection: str
    config: RecommendConfig
    scenarios: Mapping[str, Scenario] = field(default_factory=dict)

    @property
    def language(self) -> Language:
        """The language of titles and transcripts."""
        return self.live.snapshot.words.language

    def nearest(self, query_D: Vector) -> ExactSearch | IndexSearch:
        """Return a source of the videos nearest to a query."""
        if self.live.embeddings_ND.size <= self.config.exact_cells:
            return ExactSearch(self.live, query_D)
        return IndexSearch(self.live, self.index, self.collection, query_D)

    def sources(self, found: Taste) -> list[Source]:
        """Return a source for each interest of a user."""
        nearest: list[Source] = [self.nearest(interest_D) for interest_D in found.queries_ID]
        if found.personal is not None:
            index = nearest[0] if isinstance(nearest[0], IndexSearch) else None
            nearest[0] = PersonalSearch(self.live, found.personal, index)
        return nearest

    def hybrid(self, query_D: Vector, words: WordQuery) -> HybridSearch:
        """Return a source of the videos nearest to a query and its words. Raises BadQuery if there are no words."""
        if not words.text:
            raise BadQuery(NO_WORDS)
        return HybridSearch(self.nearest(query_D), words, self.live.snapshot.word_weight)


def recommend(
    release: PinnedRelease,
    request: RecommendRequest,
    text_D: Vector | None = None,
    articles: Sequence[Vector] = (),
) -> RankedResults:
    """Answer a request from one release. Blocks.

    `text_D`: the request's text, embedded by the release's tower; with `space`, by that encoder. `articles`: the
    user's, embedded by the tower.

    Raises:
        UnknownVideo, BadQuery, BadFilter: as `check_request`; BadQuery also if the release has nothing of the user.

    >>> from pathlib import Path
    >>> from rayreel.recommendation.live import load_live
    >>> from rayreel.storage import Storage
    >>> live = load_live(Storage("demo"), version=1, cache_dir=Path("cache"))
    >>> release = PinnedRelease(live, index=None, collection="", config=RecommendConfig())  # small: no index
    >>> found = recommend(release, RecommendRequest(video_id="v07", top_k=3, filter={"category": "c1"}))
    >>> len(found), {video.category for video in found}
    (3, {'c1'})
    """
    options = options_of(request, release.config, release.scenarios)
    if request.video_id is not None:
        return by_id(release, request.video_id, options)
    if request.user is not None and not (request.user.is_known and request.user.is_empty):
        user = request.user
        return by_user(
            release, history_of(user), user.liked_categories, options, rewatch=user.rewatch, articles=articles
        )
    if request.user is not None or request.recommendation_id is not None:
        raise BadQuery("Only a service knows what users did. Pass a history or liked categories, or ask a service.")
    if request.embedding is not None:
        return by_vector(release, _given(release.live, request.embedding, options.space), options)
    assert text_D is not None, "the caller encodes the text"
    if options.space is None:
        text_D = expanded(release.nearest(text_D), release.config.text_neighbours)
    return by_vector(release, text_D, options, parse_query(request.text or "", release.language))


def parsed(kind: type[M], fields: Mapping[str, Any]) -> M:
    """Return the fields of a query as a request. Raises BadQuery, which names each invalid field."""
    try:
        return kind.model_validate(fields)
    except ValidationError as error:
        problems = (f"{'.'.join(map(str, e['loc'])) or 'query'}: {e['msg']}" for e in error.errors())
        raise BadQuery("; ".join(problems)) from None


def check_request(live: Live, request: RecommendRequest) -> None:
    """Find what is wrong with a request before encoders, a thread or the index are used for it.

    Raises:
        BadFilter: the filter is invalid.
        UnknownVideo: the release does not have the video.
        BadQuery: the embedding does not fit the release, or it does not keep the vectors of the requested space; or
            the request names another release.
    """
    check_release(live, request)
    if request.filter is not None:
        parse_filter(request.filter)
    place = None if request.video_id is None else live.place(request.video_id)
    space = space_of(request)
    if space is not None:
        live.space(space.modality)
    if space is not None and place is not None:
        vector_in(live, space, place)
    if request.embedding is not None:
        _given(live, request.embedding, space)


def check_release(live: Live, options: RecommendOptions) -> None:
    """Check that a request names this release or none. Raises BadQuery."""
    if options.release not in {None, live.version}:
        raise BadQuery(f"Release {live.version} is loaded here. Ask a service for release {options.release}.")


def space_of(options: RecommendOptions) -> Space | None:
    """Return the space of the encoder in which a request compares; None for that of the release."""
    if options.space is None:
        return None
    return Space(Modality(options.space), Metric(options.metric or Metric.COSINE))


def _given(live: Live, embedding: Sequence[float], space: Space | None) -> Vector:
    if space is None:
        return unit(embedding, live.dim)
    return raw(embedding, live.space(space.modality)[0][0].shape[1])


def options_of(
    options: RecommendOptions, config: RecommendConfig, scenarios: Mapping[str, Scenario] = MappingProxyType({})
) -> Options:
    """Convert the options of a request. Raises BadFilter, and BadQuery if there is no such scenario."""
    if options.scenario is not None and options.scenario not in scenarios:
        known = ", ".join(sorted(scenarios)) or "none"
        raise BadQuery(f"There is no scenario {options.scenario!r}. Known scenarios: {known}.")
    weights = None if options.weights is None else options.weights.model_dump()
    return Options(
        top_k=options.top_k,
        filter=None if options.filter is None else parse_filter(options.filter),
        exclude=frozenset(options.exclude),
        diversity=options.diversity,
        cross_category=options.cross_category,
        serendipity=options.serendipity,
        explain=options.explain,
        weights=None if weights is None else {Modality(name): weight for name, weight in weights.items() if weight},
        hybrid=options.hybrid,
        threshold=options.threshold,
        candidates=config.diversity_candidates,
        space=space_of(options),
        scenario=None if options.scenario is None else scenarios[options.scenario],
    )


def history_of(user: User) -> list[WatchedVideo]:
    """Convert the history of a user."""
    return [WatchedVideo(entry.video_id, entry.weight, entry.timestamp) for entry in user.watched()]


def by_id_fast(live: Live, video_id: str, options: Options) -> RankedResults | None:
    """Return videos like one of the release from memory alone, or None if only `by_id` can answer.

    Never blocks and takes microseconds, so it may run inside an event loop. Results are exact.

    Raises:
        UnknownVideo: the release does not have the video.
    """
    place = live.place(video_id)
    if place >= live.base or options.weights is not None or options.hybrid or options.space is not None:
        return None
    if options.pool() > max(options.top_k, FAST_POOL):
        return None
    return choose(live, StoredNeighbours(live, place), options, live.vector(place), home=_home(live, place))


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
    query_D = _of_video(live, place, options)
    words = plain_query(live.row(place).title or "", release.language)
    source = _source(release, query_D, options, words)
    home, exclude = _home(live, place), frozenset((video_id,))
    text = words.text if options.hybrid else None
    return _not_none(choose(live, source, options, query_D, home=home, exclude=exclude, text=text))


def by_vector(
    release: PinnedRelease, query_D: Vector, options: Options, text: str | WordQuery | None = None
) -> RankedResults:
    """Return videos near a unit query encoded by this release's tower. Blocks.

    `text`: its words, for `hybrid` and passages: a title, or a parsed query.

    With `options.space`, the query is a vector of that encoder instead, of any length.
    Such a query has no category of its own: for `cross_category` and `serendipity` it takes the nearest video's.
    `options.weights` are ignored: the caller applies them when it makes the query.

    Raises:
        BadQuery: `hybrid` without words.
    """
    live = release.live
    words = text if isinstance(text, WordQuery) else plain_query(text or "", release.language)
    source = _source(release, query_D, options, words)
    home = NO_HOME
    if options.cross_category or options.serendipity:
        home = _home(live, *source.nearest(1, Constraints.of(live, options)).places)
    return _not_none(choose(live, source, options, query_D, home=home, text=words.text))


def by_user(
    release: PinnedRelease,
    history: Sequence[WatchedVideo],
    liked: Sequence[str],
    options: Options,
    *,
    rewatch: bool = False,
    articles: Sequence[Vector] = (),
    unloved: Sequence[WatchedVideo] = (),
) -> RankedResults:
    """Return videos for a user's watch history and liked categories; watched ones only with `rewatch`. Blocks.

    `articles`: unit embeddings of texts that they read, which are moved toward videos as queries by text are.
    `unloved`: what they watched and did not like. Each interest costs a search. See `users.taste`.

    Raises:
        BadQuery: the release has nothing of the history and the categories; or `hybrid`, as there are no words.
    """
    if options.hybrid:
        raise BadQuery(NO_WORDS)
    moved = [expanded(release.nearest(article_D), release.config.text_neighbours) for article_D in articles]
    found = taste(release.live, history, liked, release.config, options.weights, articles=moved, unloved=unloved)
    source = Interests(release.sources(found), found.shares)
    watched = frozenset() if rewatch else frozenset(video.video_id for video in history)
    chosen = choose(release.live, source, options, found.queries_ID, home=found.home, exclude=watched)
    return with_reasons(release.live, _not_none(chosen), history) if options.explain else _not_none(chosen)


def by_person(
    release: PinnedRelease,
    person: PersonState,
    user: User,
    options: Options,
    popularity: Popularity,
    *,
    articles: Sequence[Vector] = (),
) -> RankedResults:
    """Return videos for someone whose events are known. Blocks.

    What the request says of them is added to their history. Of people without a history in the release and without
    liked categories, nothing is known: they get what is popular and new.

    Raises:
        BadQuery: `hybrid`, as there are no words.
    """
    if options.hybrid:
        raise BadQuery(NO_WORDS)
    options = replace(options, exclude=options.exclude | person.excluded(rewatch=user.rewatch))
    history = [*history_of(user), *person.history]
    if len(articles) or has_taste(release.live, history, user.liked_categories, options.weights):
        return by_user(
            release,
            history,
            user.liked_categories,
            options,
            rewatch=user.rewatch,
            articles=articles,
            unloved=person.unloved,
        )
    nothing_D = np.zeros(release.live.dim, np.float32)
    found = _not_none(choose(release.live, PopularVideos(release.live, popularity), options, nothing_D, home=NO_HOME))
    return replace(found, results=[video._replace(explanation=_without_query(video)) for video in found])


def _without_query(video: RankedVideo) -> ResultExplanation | None:
    """The explanation of a result that was not compared with anything."""
    return video.explanation and video.explanation._replace(modalities={})


def _of_video(live: Live, place: int, options: Options) -> Vector:
    if options.space is not None:
        return vector_in(live, options.space, place)
    return live.vector(place) if options.weights is None else weighted_query(live.parts(place), options.weights)


def _source(
    release: PinnedRelease, query_D: Vector, options: Options, words: WordQuery
) -> SpaceSearch | HybridSearch | ExactSearch | IndexSearch:
    if options.space is not None:
        return SpaceSearch(release.live, options.space, query_D)
    return release.hybrid(query_D, words) if options.hybrid else release.nearest(query_D)


def _home(live: Live, *places: int) -> frozenset[str]:
    """The categories of videos; the empty string is no category."""
    return frozenset(live.row(place).category for place in places) - {""}


def _not_none(results: RankedResults | None) -> RankedResults:
    assert results is not None, "an index search always returns results"
    return results

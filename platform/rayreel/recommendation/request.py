"""Answers to requests in the form of the HTTP API."""

from rayreel.client.messages import RecommendOptions, RecommendRequest, User
from rayreel.encoders.encoder import Modality
from rayreel.index.filters import parse_filter
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options, Vector, unit
from rayreel.recommendation.recommend import PinnedRelease, by_id, by_user, by_vector
from rayreel.recommendation.results import RankedResults
from rayreel.recommendation.users import WatchedVideo


def recommend(release: PinnedRelease, request: RecommendRequest, text_D: Vector | None = None) -> RankedResults:
    """Answer a request from one release. `text_D`: the request's text, embedded by the release's tower. Blocks.

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
    options = options_of(request, release.config)
    if request.video_id is not None:
        return by_id(release, request.video_id, options)
    if request.user is not None:
        return by_user(release, history_of(request.user), request.user.liked_categories, options)
    if request.embedding is not None:
        return by_vector(release, unit(request.embedding, release.live.dim), options)
    assert text_D is not None, "the caller encodes the text"
    return by_vector(release, text_D, options, request.text)


def check_request(live: Live, request: RecommendRequest) -> None:
    """Find what is wrong with a request before encoders, a thread or the index are used for it.

    Raises:
        BadFilter: the filter is invalid.
        UnknownVideo: the release does not have the video.
        BadQuery: the embedding does not fit the release.
    """
    if request.filter is not None:
        parse_filter(request.filter)
    if request.video_id is not None:
        live.place(request.video_id)
    if request.embedding is not None:
        unit(request.embedding, live.dim)


def options_of(options: RecommendOptions, config: RecommendConfig) -> Options:
    """Convert the options of a request. Raises BadFilter."""
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
        candidates=config.diversity_candidates,
    )


def history_of(user: User) -> list[WatchedVideo]:
    """Convert the history of a user."""
    return [WatchedVideo(entry.video_id, entry.weight, entry.timestamp) for entry in user.watched()]

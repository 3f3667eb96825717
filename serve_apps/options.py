"""Conversion of API messages to the library's types."""

from rayreel.client.messages import RecommendOptions, User
from rayreel.encoders.encoder import Modality
from rayreel.index.filters import parse_filter
from rayreel.recommendation.query import Options
from rayreel.recommendation.users import WatchedVideo


def options_of(options: RecommendOptions) -> Options:
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
    )


def history_of(user: User) -> list[WatchedVideo]:
    """Convert the history of a user."""
    return [WatchedVideo(entry.video_id, entry.weight, entry.timestamp) for entry in user.watched()]

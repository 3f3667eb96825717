"""What a request asks for, in the library's terms."""

from rayreel.client.messages import RecommendOptions, User
from rayreel.encoders.encoder import Modality
from rayreel.index.filters import parse_filter
from rayreel.recommend.query import Options
from rayreel.recommend.users import WatchedVideo


def options_of(asked: RecommendOptions) -> Options:
    """How results are to be chosen. Raises BadFilter."""
    weights = None if asked.weights is None else asked.weights.model_dump()
    return Options(
        top_k=asked.top_k,
        filter=None if asked.filter is None else parse_filter(asked.filter),
        exclude=frozenset(asked.exclude),
        diversity=asked.diversity,
        cross_category=asked.cross_category,
        serendipity=asked.serendipity,
        explain=asked.explain,
        weights=None if weights is None else {Modality(name): weight for name, weight in weights.items() if weight},
        hybrid=asked.hybrid,
    )


def history_of(user: User) -> list[WatchedVideo]:
    """What a user watched."""
    return [WatchedVideo(entry.video_id, entry.weight, entry.timestamp) for entry in user.watched()]

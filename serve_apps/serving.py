"""A release that answers a request."""

from dataclasses import dataclass

from rayreel.recommendation.live import Live


@dataclass(frozen=True, slots=True)
class Serving:
    """The state of a release at one time. A request reads it once and uses it to the end."""

    version: int
    collection: str
    live: Live

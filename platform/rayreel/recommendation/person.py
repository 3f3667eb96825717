"""A known person: what they watched, liked and refused, from their events."""

from collections.abc import Sequence
from dataclasses import dataclass

from rayreel.evaluation.weights import LIKED, SHORTEST, rating_weight
from rayreel.events.done import UNLIKE, Done
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.users import WatchedVideo

# The last of these that a person did with a video is their opinion of it; after UNLIKE they have none.
OPINIONS = frozenset({"like", "dislike", "hide", "share", "rating", UNLIKE})
REFUSED = frozenset({"dislike", "hide"})
SECONDS = frozenset({"view", "dwell"})


@dataclass(frozen=True, slots=True)
class PersonState:
    """`history`: what they liked or watched, newest first. `watched`, `refused` and `skipped` are not recommended.

    `refused` are disliked and hidden videos; `skipped`, those passed over within `recommend.skipped_s`. `unloved`: what
    they watched and gave few stars, newest first, which only a user tower reads.
    """

    history: tuple[WatchedVideo, ...] = ()
    watched: frozenset[str] = frozenset()
    refused: frozenset[str] = frozenset()
    skipped: frozenset[str] = frozenset()
    unloved: tuple[WatchedVideo, ...] = ()

    def excluded(self, *, rewatch: bool) -> frozenset[str]:
        """Return the videos that are not recommended; with `rewatch`, watched ones are."""
        return self.refused | self.skipped | (frozenset() if rewatch else self.watched)


def state_of(live: Live, done: Sequence[Done], now: float, config: RecommendConfig) -> PersonState:
    """Return what someone's events, newest first, say about them. Every video has the last opinion of it."""
    opinions: dict[str, Done] = {}
    seen: dict[str, Done] = {}
    skipped = set()
    for event in done:
        if event.type in OPINIONS:
            opinions.setdefault(event.video_id, event)
        elif event.type in SECONDS:
            seen.setdefault(event.video_id, event)
        elif event.type == "skip" and now - event.at < config.skipped_s:
            skipped.add(event.video_id)
    opinions = {video: event for video, event in opinions.items() if event.type != UNLIKE}
    refused = frozenset(video for video, event in opinions.items() if event.type in REFUSED)
    last = {**seen, **opinions}
    newest = sorted(last.values(), key=lambda event: -event.at)
    weighted = ((event, _weight(live, event)) for event in newest if event.video_id not in refused)
    videos = [WatchedVideo(event.video_id, weight, event.at) for event, weight in weighted]
    history, unloved = ([video for video in videos if (video.weight > 0) == liked] for liked in (True, False))
    watched = frozenset(last) - refused
    return PersonState(
        tuple(history[: config.history]),
        watched,
        refused,
        frozenset(skipped) - watched - refused,
        tuple(unloved[: config.history]),
    )


def _weight(live: Live, event: Done) -> float:
    """The weight of a video in the history: 1 for one that was watched to its end."""
    if event.type == "rating":
        return rating_weight(event.value or 0.0)
    if event.type not in SECONDS:
        return LIKED
    place = live.find(event.video_id)
    duration_s = None if place is None else live.row(place).duration_s
    return min(max(event.value / duration_s, SHORTEST), 1.0) if event.value is not None and duration_s else 1.0

"""Users as a few queries: their watch history grouped by interest, and the categories they like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from rayreel.encoders.encoder import Modality
from rayreel.recommendation.candidates import Constraints, RankedCandidates, Source
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import BadQuery, Vector, weighted_query
from rayreel.tower.interests import decayed, interests_of
from rayreel.tower.user import UserVector, WatchHistory


@dataclass(frozen=True, slots=True)
class WatchedVideo:
    """A video of a watch history, its weight, and when it was watched, in seconds since 1970."""

    video_id: str
    weight: float = 1.0
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class Taste:
    """A user's interests: unit queries [I, dim], the weight of each, and the categories they come from.

    `personal`: the vector of a release's user tower, for which the first query stands.
    """

    queries_ID: NDArray[np.float32]
    shares: list[float]
    home: frozenset[str]
    personal: UserVector | None = None


@dataclass(frozen=True, slots=True)
class Interests:
    """Several sources whose lists are merged so that each gets its share of every prefix of the result (D'Hondt).

    The r-th video of a source with share s is ordered at r / s; a video found by several sources takes its first
    position and its best score. Scores of different interests are not comparable: a narrow one would fill the list.
    """

    sources: Sequence[Source]
    shares: Sequence[float]

    def nearest(self, count: int, constraints: Constraints) -> RankedCandidates | None:
        """Return the `count` best of the merged lists; None if a source returns None."""
        lists = [source.nearest(count, constraints) for source in self.sources]
        at: dict[int, tuple[float, float, str]] = {}
        for found, share in zip(lists, self.shares, strict=True):
            if found is None:
                return None
            for rank, (place, score, stage) in enumerate(zip(found.places, found.scores, found.stages, strict=True), 1):
                position, best, _ = at.get(place, (np.inf, score, stage))
                at[place] = (min(position, rank / share), max(best, score), stage)
        places = sorted(at, key=lambda place: (at[place][0], -at[place][1]))[:count]
        return RankedCandidates(places, [at[place][1] for place in places], [at[place][2] for place in places])


def taste(
    live: Live,
    history: Sequence[WatchedVideo],
    liked: Sequence[str],
    config: RecommendConfig,
    weights: Mapping[Modality, float] | None = None,
    *,
    articles: Sequence[Vector] = (),
    unloved: Sequence[WatchedVideo] = (),
) -> Taste:
    """Return a user's interests: a few groups of watched videos, and of liked categories and articles.

    A watched video's weight halves for every half-life that it is older than the newest; one without a timestamp counts
    as new. A liked category is the mean of its videos, and an article its unit embedding, each with the weight of an
    average watched video. Videos and categories that the release does not have are skipped; `weights` reweight the
    modalities of the watched videos.

    Raises:
        BadQuery: nothing is left.
    """
    places, watched = _history(live, history, weights)
    personal = _personal(live, history, unloved) if weights is None and places else None
    liked_CD = np.concatenate([_categories(live, liked), np.asarray(articles, np.float32).reshape(-1, live.dim)])
    if not places and not len(liked_CD):
        raise BadQuery(
            f"Release {live.version} has none of the {len(history)} videos of the history and of the {len(liked)} "
            "liked categories. Pass ids and categories of videos in the index."
        )
    counts_H = decayed(watched.weights_H, watched.ages_H, config.half_life_s)
    groups = [
        *(
            interests_of(watched.vectors_HD, counts_H, live.mean_cosine, config.watched_interests)
            if personal is None
            else [(personal.content_D.astype(np.float64), float(counts_H.sum()))]
        ),
        *interests_of(liked_CD, np.ones(len(liked_CD)), live.mean_cosine, config.liked_interests),
    ]
    home = {live.row(place).category for place in places} | set(liked)
    queries = [sum_D / np.linalg.norm(sum_D) for sum_D, _ in groups]
    return Taste(np.asarray(queries, np.float32), [share for _, share in groups], frozenset(home - {""}), personal)


def _personal(live: Live, history: Sequence[WatchedVideo], unloved: Sequence[WatchedVideo]) -> UserVector | None:
    """Return the vector of the release's user tower; None without one."""
    if live.users is None:
        return None
    found = live.users.vector(_history(live, [*history, *(replace(video, weight=0.0) for video in unloved)], None)[1])
    return found if found.content_D.any() else None


def has_taste(
    live: Live, history: Sequence[WatchedVideo], liked: Sequence[str], weights: Mapping[Modality, float] | None = None
) -> bool:
    """Whether the release has anything of a history and of liked categories, so that `taste` finds interests."""
    places = (live.find(video.video_id) for video in history)
    known = any(place is not None and _vector(live, place, weights) is not None for place in places)
    return known or any(live.category_mean(category) is not None for category in liked)


def _history(
    live: Live, history: Sequence[WatchedVideo], weights: Mapping[Modality, float] | None
) -> tuple[list[int], WatchHistory]:
    """Places and unit vectors of the watched videos in the release, with their weights and ages."""
    newest = max((video.timestamp for video in history if video.timestamp is not None), default=0.0)
    found: list[tuple[int, Vector, WatchedVideo]] = []
    for video in history:
        place = live.find(video.video_id)
        vector = None if place is None else _vector(live, place, weights)
        if place is not None and vector is not None:
            found.append((place, vector, video))
    return [place for place, _, _ in found], WatchHistory(
        [video.video_id for _, _, video in found],
        np.asarray([vector for _, vector, _ in found], np.float32).reshape(-1, live.dim),
        np.array([video.weight for _, _, video in found], np.float64),
        np.array([0.0 if v.timestamp is None else newest - v.timestamp for _, _, v in found], np.float64),
    )


def _vector(live: Live, place: int, weights: Mapping[Modality, float] | None) -> Vector | None:
    if weights is None:
        return live.vector(place)
    try:
        return weighted_query(live.parts(place), weights)
    except BadQuery:  # this video has none of the weighted modalities; others may
        return None


def _categories(live: Live, liked: Sequence[str]) -> NDArray[np.float32]:
    means = [live.category_mean(category) for category in dict.fromkeys(liked)]
    return np.asarray([mean for mean in means if mean is not None], np.float32).reshape(-1, live.dim)

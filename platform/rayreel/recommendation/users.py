"""Users as a few queries: their watch history grouped by interest, and the categories they like."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.cluster.hierarchy import cut_tree, linkage
from scipy.spatial.distance import squareform

from rayreel.encoders.encoder import Modality
from rayreel.recommendation.candidates import Constraints, RankedCandidates, Source
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import BadQuery, Vector, weighted_query


@dataclass(frozen=True, slots=True)
class WatchedVideo:
    """A video of a watch history, its weight, and when it was watched, in seconds since 1970."""

    video_id: str
    weight: float = 1.0
    timestamp: float | None = None


@dataclass(frozen=True, slots=True)
class Taste:
    """A user's interests: unit queries [I, dim], the weight of each, and the categories they come from."""

    queries_ID: NDArray[np.float32]
    shares: list[float]
    home: frozenset[str]


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
) -> Taste:
    """Return a user's interests: a few groups of watched videos, and of liked categories and articles.

    A watched video's weight halves for every half-life that it is older than the newest; one without a timestamp counts
    as new. A liked category is the mean of its videos, and an article its unit embedding, each with the weight of an
    average watched video. Videos and
    categories that the release does not have are skipped; `weights` reweight the modalities of the watched videos.

    Raises:
        BadQuery: nothing is left.
    """
    places, vectors_HD, counts_H = _history(live, history, weights, config.half_life_s)
    liked_CD = np.concatenate([_categories(live, liked), np.asarray(articles, np.float32).reshape(-1, live.dim)])
    if not len(vectors_HD) and not len(liked_CD):
        raise BadQuery(
            f"Release {live.version} has none of the {len(history)} videos of the history and of the {len(liked)} "
            "liked categories. Pass ids and categories of videos in the index."
        )
    groups = [
        *_grouped(vectors_HD, counts_H, live.mean_cosine, config.watched_interests),
        *_grouped(liked_CD, np.ones(len(liked_CD)), live.mean_cosine, config.liked_interests),
    ]
    home = {live.row(place).category for place in places} | set(liked)
    queries = [sum_D / np.linalg.norm(sum_D) for sum_D, _ in groups]
    return Taste(np.asarray(queries, np.float32), [share for _, share in groups], frozenset(home - {""}))


def has_taste(
    live: Live, history: Sequence[WatchedVideo], liked: Sequence[str], weights: Mapping[Modality, float] | None = None
) -> bool:
    """Whether the release has anything of a history and of liked categories, so that `taste` finds interests."""
    places = (live.find(video.video_id) for video in history)
    known = any(place is not None and _vector(live, place, weights) is not None for place in places)
    return known or any(live.category_mean(category) is not None for category in liked)


def _history(
    live: Live, history: Sequence[WatchedVideo], weights: Mapping[Modality, float] | None, half_life_s: float
) -> tuple[list[int], NDArray[np.float32], NDArray[np.float64]]:
    """Places, unit vectors [H, dim] and weights [H], 1 on average, of the watched videos in the release."""
    newest = max((video.timestamp for video in history if video.timestamp is not None), default=0.0)
    places, vectors, counts = [], [], []
    for video in history:
        place = live.find(video.video_id)
        vector = None if place is None else _vector(live, place, weights)
        if place is not None and vector is not None:
            age = 0.0 if video.timestamp is None else newest - video.timestamp
            places.append(place)
            vectors.append(vector)
            counts.append(video.weight * 0.5 ** (age / half_life_s))
    vectors_HD = np.asarray(vectors, np.float32).reshape(-1, live.dim)
    # Very old videos keep a positive weight: they may be all there is.
    counts_H = np.maximum(np.asarray(counts, np.float64), 1e-9)
    return places, vectors_HD, counts_H / counts_H.mean() if len(counts_H) else counts_H


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


def _grouped(
    vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], mean_cosine: float, max_groups: int
) -> list[tuple[NDArray[np.float64], float]]:
    """The weighted sum [dim] and the share of each group, without groups whose vectors cancel out."""
    if not len(vectors_HD):
        return []
    labels_H = _labels(vectors_HD, counts_H, mean_cosine, max_groups)
    weighted_HD = vectors_HD * counts_H[:, None]
    groups = [
        (weighted_HD[labels_H == g].sum(axis=0), float(counts_H[labels_H == g].sum())) for g in np.unique(labels_H)
    ]
    return [group for group in groups if np.linalg.norm(group[0]) > 1e-9 * group[1]]


def _labels(
    vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], mean_cosine: float, max_groups: int
) -> NDArray[np.int64]:
    """Group labels by Ward's method: the fewest groups that are all cohesive, at most `max_groups`.

    Groups are cohesive if the mean cosine within them is nearer to 1 than to `mean_cosine`, that of any two videos of
    the release. Source for Ward's groups of a user's history: Pal et al. 2020, PinnerSage.
    """
    labels_H = np.zeros(len(counts_H), np.int64)
    cohesive = (1 + mean_cosine) / 2
    if _cohesion(vectors_HD, counts_H, labels_H) >= cohesive:
        return labels_H
    distances_HH = np.sqrt(np.clip(2 - 2 * vectors_HD @ vectors_HD.T, 0, None))
    np.fill_diagonal(distances_HH, 0)
    tree = linkage(squareform(distances_HH, checks=False), "ward")
    # All cuts, from H groups to one: for equal distances `fcluster` makes too few groups, and so does cut_tree when
    # asked for as many groups as vectors.
    for labels_H in cut_tree(tree).T[::-1][1:max_groups]:
        if _cohesion(vectors_HD, counts_H, labels_H) >= cohesive:
            break
    return labels_H


def _cohesion(vectors_HD: NDArray[np.float32], counts_H: NDArray[np.float64], labels_H: NDArray[np.int64]) -> float:
    """Mean cosine of two different vectors of the same group, weighted by both; 1 if every group has one vector."""
    total = pairs = 0.0
    for group in np.unique(labels_H):
        counts_G = counts_H[labels_H == group]
        sum_D = counts_G @ vectors_HD[labels_H == group]
        # Squares of sums contain every pair twice, and each vector with itself.
        total += float(sum_D @ sum_D - counts_G @ counts_G)
        pairs += float(counts_G.sum() ** 2 - counts_G @ counts_G) if len(counts_G) > 1 else 0.0
    return total / pairs if pairs else 1.0

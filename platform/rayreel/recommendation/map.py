"""A map of a release: where its videos lie, by all modalities together and by each alone, and what they are."""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from rayreel.encoders.encoder import Modality
from rayreel.media.pictures import thumbnail
from rayreel.recommendation.config import Layout
from rayreel.recommendation.layout import lay_out
from rayreel.recommendation.live import Live

FUSED = "fused"
# Cosines above this are those of copies: other encodings, cuts of a few frames.
NEAR_DUPLICATE = 0.98
NEIGHBOURS = 10
_MOST_CLUSTERS = 12
# With more videos, posters would make the page too large.
MOST_POSTERS = 20_000
_POSTER_SIDE = 72
ReadPoster = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class VideoMap:
    """N videos: positions [N, 2] by space (-1 to 1, NaN where the modality is absent) and values [N] by colouring.

    `agreement` is the share of a video's nearest others that have its category, NaN without one. `posters` are data
    URLs, "" where there is none.
    """

    release: int
    layout: Layout
    ids: list[str]
    titles: list[str]
    spaces: dict[str, NDArray[np.float32]]
    groups: dict[str, list[str]]
    agreement: NDArray[np.float32]
    posters: list[str]


def map_of(live: Live, layout: Layout, poster: ReadPoster, seed: int = 0) -> VideoMap:
    """Lay out the videos of a release. `poster` returns the poster of a content hash. Raises LayoutUnavailable."""
    rows = live.page("", len(live))
    places = [live.place(row.video_id) for row in rows]
    vectors_ND = live.vectors(places)
    categories = [row.category for row in rows]
    nearest_NK, cosines_NK = _nearest(vectors_ND)
    groups = {
        "category": [category or "none" for category in categories],
        "cluster": _clusters(vectors_ND, [row.title for row in rows], seed),
        "near-duplicate": ["yes" if near else "no" for near in cosines_NK[:, 0] >= NEAR_DUPLICATE],
    }
    return VideoMap(
        release=live.version,
        layout=layout,
        ids=[row.video_id for row in rows],
        titles=[row.title for row in rows],
        spaces=_spaces(live, places, vectors_ND, layout, seed),
        groups=groups,
        agreement=_agreement(categories, nearest_NK),
        posters=[_small(poster, row.content_hash, len(rows)) for row in rows],
    )


def _spaces(
    live: Live, places: list[int], vectors_ND: NDArray[np.float32], layout: Layout, seed: int
) -> dict[str, NDArray[np.float32]]:
    """Return positions by all modalities, and by each one alone that at least 4 videos have."""
    spaces = {FUSED: lay_out(vectors_ND, layout, seed)}
    for modality in Modality:
        alone_ND, present_N = live.modality_vectors(places, modality)
        if present_N.sum() >= 4:
            positions_N2 = np.full((len(places), 2), np.nan, np.float32)
            positions_N2[present_N] = lay_out(alone_ND[present_N], layout, seed)
            spaces[modality.value] = positions_N2
    return spaces


def _nearest(vectors_ND: NDArray[np.float32], chunk: int = 1024) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return row numbers and cosines of the nearest others, best first, [N, K]."""
    count = len(vectors_ND)
    nearest, cosines = [], []
    for start in range(0, count, chunk):
        scores_RN = vectors_ND[start : start + chunk] @ vectors_ND.T
        scores_RN[np.arange(len(scores_RN)), np.arange(start, start + len(scores_RN))] = -np.inf
        order_RK = np.argsort(-scores_RN, axis=1)[:, : min(NEIGHBOURS, count - 1)]
        nearest.append(order_RK)
        cosines.append(np.take_along_axis(scores_RN, order_RK, axis=1))
    return np.concatenate(nearest), np.concatenate(cosines)


def _clusters(vectors_ND: NDArray[np.float32], titles: list[str], seed: int) -> list[str]:
    """Return a name of each video's cluster: its number and the two words that distinguish its titles most."""
    count = int(np.clip(round((len(vectors_ND) / 2) ** 0.5), 2, _MOST_CLUSTERS))
    labels_N = KMeans(count, n_init=3, random_state=seed).fit_predict(vectors_ND)
    joined = [" ".join(t for t, of in zip(titles, labels_N, strict=True) if of == label) for label in range(count)]
    names = [f"{label + 1} {words}".strip() for label, words in enumerate(_distinctive(joined))]
    return [names[label] for label in labels_N]


def _distinctive(texts: list[str]) -> list[str]:
    vectorizer = TfidfVectorizer(token_pattern=r"[^\W\d_]{3,}", stop_words="english")  # noqa: S106 - a pattern of words
    try:
        weights = vectorizer.fit_transform(texts).toarray()
    except ValueError:  # no title has a word
        return [""] * len(texts)
    words = vectorizer.get_feature_names_out()
    best = np.argsort(-weights, axis=1)[:, :2]
    return [" ".join(words[w] for w in row if weights[n, w] > 0) for n, row in enumerate(best)]


def _agreement(categories: list[str], nearest_NK: NDArray[np.int64]) -> NDArray[np.float32]:
    own_N = np.array(categories, object)
    share_N: NDArray[np.float32] = (own_N[nearest_NK] == own_N[:, None]).mean(axis=1).astype(np.float32)
    share_N[own_N == ""] = np.nan
    return share_N


def _small(read: ReadPoster, content_hash: str | None, count: int) -> str:
    """Return a small poster as a data URL."""
    content = read(content_hash) if content_hash and count <= MOST_POSTERS else None
    return thumbnail(content, _POSTER_SIDE) if content else ""

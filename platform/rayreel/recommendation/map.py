"""A map of a release: where its videos lie, by all modalities together and by each alone, and what they are."""

from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.cluster import KMeans
from sklearn.feature_extraction.text import TfidfVectorizer

from rayreel.encoders.encoder import Modality
from rayreel.evaluation.metrics import Ranked, ndcg
from rayreel.media.pictures import thumbnail
from rayreel.recommendation.config import Layout
from rayreel.recommendation.layout import lay_out
from rayreel.recommendation.live import Live

FUSED = "fused"
DUPLICATE = "near-duplicate"
LEAK = "leak between splits"
# Cosines above this are those of copies: other encodings, cuts of a few frames.
NEAR_DUPLICATE = 0.98
NEIGHBOURS = 10
_MOST_CLUSTERS = 12
# With more videos, posters would make the page too large, and three dimensions the layout too slow.
MOST_DETAILED = 20_000
_POSTER_SIDE = 72
ReadPoster = Callable[[str], bytes | None]


@dataclass(frozen=True, slots=True)
class VideoMap:
    """N videos: positions [N, axes] by space (-1 to 1, NaN where the modality is absent) and values [N] by colouring.

    `planes` have two axes, `solids` three; there are no solids of more than 20,000 videos. `copies` is the nearest
    video by cosine if that is at least NEAR_DUPLICATE, else "". `ndcg` is nDCG@10 by category with the video as the
    query and all others as candidates, NaN if no other has its category. `posters` are data URLs, "" without a poster.
    """

    release: int
    layout: Layout
    ids: list[str]
    titles: list[str]
    planes: dict[str, NDArray[np.float32]]
    solids: dict[str, NDArray[np.float32]]
    groups: dict[str, list[str]]
    copies: list[str]
    ndcg: NDArray[np.float32]
    posters: list[str]


def map_of(
    live: Live, layout: Layout, poster: ReadPoster, parts: Mapping[str, str] | None = None, seed: int = 0
) -> VideoMap:
    """Lay out the videos of a release. `poster` returns the poster of a content hash. Raises LayoutUnavailable.

    `parts`: the side of the training split of each video; those that are not in it were added later.
    """
    rows = live.page("", len(live))
    ids = [row.video_id for row in rows]
    places = [live.place(video_id) for video_id in ids]
    vectors_ND = live.vectors(places)
    categories = [row.category for row in rows]
    nearest_NK, cosines_NK = _nearest(vectors_ND)
    copied_NK = cosines_NK >= NEAR_DUPLICATE
    groups = {
        "category": [category or "none" for category in categories],
        "cluster": _clusters(vectors_ND, [row.title for row in rows], seed),
        DUPLICATE: _yes_or_no(copied_NK[:, 0]),
    }
    if parts:
        of_N = [parts.get(video_id, "added later") for video_id in ids]
        groups |= {"split": of_N, LEAK: _yes_or_no(_leaks(np.array(of_N), nearest_NK, copied_NK))}
    return VideoMap(
        release=live.version,
        layout=layout,
        ids=ids,
        titles=[row.title for row in rows],
        planes=_spaces(live, places, layout, 2, seed),
        solids=_spaces(live, places, layout, 3, seed) if len(rows) <= MOST_DETAILED else {},
        groups=groups,
        copies=[ids[near] if copied else "" for near, copied in zip(nearest_NK[:, 0], copied_NK[:, 0], strict=True)],
        ndcg=_ndcg(categories, nearest_NK),
        posters=[_small(poster, row.content_hash, len(rows)) for row in rows],
    )


def _spaces(live: Live, places: list[int], layout: Layout, axes: int, seed: int) -> dict[str, NDArray[np.float32]]:
    """Return positions by all modalities, and by each one alone that at least 4 videos have."""
    spaces = {FUSED: lay_out(live.vectors(places), layout, axes, seed)}
    for modality in Modality:
        alone_ND, present_N = live.modality_vectors(places, modality)
        if present_N.sum() >= 4:
            positions_NA = np.full((len(places), axes), np.nan, np.float32)
            positions_NA[present_N] = lay_out(alone_ND[present_N], layout, axes, seed)
            spaces[modality.value] = positions_NA
    return spaces


def _nearest(vectors_ND: NDArray[np.float32], chunk: int = 1024) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """Return row numbers and cosines of the nearest others, best first, [N, K]."""
    count, kept = len(vectors_ND), min(NEIGHBOURS, len(vectors_ND) - 1)
    nearest, cosines = [], []
    for start in range(0, count, chunk):
        scores_RN = vectors_ND[start : start + chunk] @ vectors_ND.T
        scores_RN[np.arange(len(scores_RN)), np.arange(start, start + len(scores_RN))] = -np.inf
        first_RK = np.argpartition(-scores_RN, kept - 1, axis=1)[:, :kept]
        best_RK = np.argsort(-np.take_along_axis(scores_RN, first_RK, axis=1), axis=1, kind="stable")
        order_RK = np.take_along_axis(first_RK, best_RK, axis=1)
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


def _yes_or_no(values_N: NDArray[np.bool_]) -> list[str]:
    return ["yes" if value else "no" for value in values_N]


def _leaks(parts_N: NDArray[np.str_], nearest_NK: NDArray[np.int64], copied_NK: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """Whether a near-duplicate of each video is on another side of the split."""
    leaks_N: NDArray[np.bool_] = ((parts_N[nearest_NK] != parts_N[:, None]) & copied_NK).any(axis=1)
    return leaks_N


def _ndcg(categories: list[str], nearest_NK: NDArray[np.int64]) -> NDArray[np.float32]:
    own_N = np.array(categories, object)
    counts = Counter(categories)
    relevant_N = np.array([counts[category] - 1 if category else 0 for category in categories])
    found_N = np.full(len(own_N), np.nan, np.float32)
    asked = np.flatnonzero(relevant_N)
    hits_QK = own_N[nearest_NK[asked]] == own_N[asked, None]
    found_N[asked] = ndcg(Ranked(nearest_NK[asked], hits_QK, relevant_N[asked]), NEIGHBOURS)
    return found_N


def _small(read: ReadPoster, content_hash: str | None, count: int) -> str:
    """Return a small poster as a data URL."""
    content = read(content_hash) if content_hash and count <= MOST_DETAILED else None
    return thumbnail(content, _POSTER_SIDE) if content else ""

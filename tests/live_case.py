"""Synthetic releases for tests of recommendation, with reference results by brute force."""

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, NoReturn

import numpy as np

from rayreel.encoders.encoder import Modality
from rayreel.index.filters import Filter, parse_filter
from rayreel.recommendation.candidates import Searcher
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import PinnedRelease
from rayreel.recommendation.results import RankedResults, RankedVideo, ResultExplanation
from rayreel.release.rows import ReleaseRows, tombstones
from rayreel.release.snapshot import load_snapshot, write_snapshot
from rayreel.storage import Storage
from release_rows import DIM, release_row, release_table

CATEGORIES = ("sea", "sky", "city", "")
FILTERS = (
    None,
    {"category": "sea"},
    {"not": {"category": {"in": ["sea", "sky"]}}},
    {"tags": {"any": ["blue", "old"]}},
    {"extra.views": {"gte": 5}},
    {"or": [{"category": "city"}, {"extra.views": {"lt": 2}}]},
    {"duration_s": {"gt": 1e6}},
)


def at(degrees: float) -> np.ndarray:
    """Return a unit vector in the first plane."""
    vector = np.zeros(DIM, np.float32)
    vector[:2] = np.cos(np.deg2rad(degrees)), np.sin(np.deg2rad(degrees))
    return vector


def random_video(rng: np.random.Generator, video_id: str) -> dict[str, Any]:
    """Return a video near one of a few directions, sometimes exactly on it, so that there are many ties."""
    direction = np.random.default_rng(int(rng.integers(4))).normal(size=DIM)
    vector = direction + rng.choice([0.0, 0.3, 1.0]) * rng.normal(size=DIM)
    return release_row(
        video_id,
        embedding=(vector / np.linalg.norm(vector)).astype(np.float32),
        category=str(rng.choice(CATEGORIES)),
        tags=rng.choice(["blue", "old", "slow"], int(rng.integers(3)), replace=False).tolist(),
        extra={} if rng.random() < 0.3 else {"views": int(rng.integers(10))},
    )


class NoIndex:
    """A searcher that must not be called."""

    def search(
        self,
        embedding: np.ndarray,
        top_k: int,
        exclude: Sequence[str] = (),
        *,
        filter: Filter | None = None,
        collection: str | None = None,
    ) -> NoReturn:
        raise AssertionError("searched the index")


def pinned(live: Live, index: Searcher | None = None, collection: str = "", **config: object) -> PinnedRelease:
    """Return a release to query, by default with an index that must not be searched."""
    return PinnedRelease(live, index or NoIndex(), collection, RecommendConfig.model_validate(config))


class Release:
    """A release below a folder, with the videos it should contain."""

    def __init__(self, folder: Path, videos: Iterable[dict[str, Any]], neighbours: int) -> None:
        self.storage = Storage(folder)
        self.rows = ReleaseRows(self.storage, 1)
        self.folder = folder
        self.videos: dict[str, dict[str, Any]] = {}
        self.put(*videos)
        self.live = self.snapshot(neighbours)

    def snapshot(self, neighbours: int, spaces: Sequence[Modality] = ()) -> Live:
        """Write a new snapshot of the current rows and return it."""
        write_snapshot(self.storage, self.rows, neighbours, spaces)
        return Live.of(load_snapshot(self.storage, 1, self.folder / "cache"))

    def put(self, *videos: dict[str, Any]) -> None:
        """Add or change videos; `refresh` updates `live`."""
        self.rows.add(release_table(*videos))
        self.videos |= {video["video_id"]: video for video in videos}

    def delete(self, *video_ids: str) -> None:
        """Delete videos; `refresh` updates `live`."""
        self.rows.add(tombstones(video_ids))
        self.videos = {key: video for key, video in self.videos.items() if key not in video_ids}

    def refresh(self) -> Live:
        """Update `live` with all changes and return it."""
        self.live = self.live.with_changes(self.rows.read(after=self.live.upto))
        return self.live

    def vector(self, video_id: str) -> np.ndarray:
        """Return a video's embedding."""
        return np.asarray(self.videos[video_id]["embedding"])

    def ranked(
        self, query: np.ndarray, options: Options, home: frozenset[str] = frozenset()
    ) -> list[tuple[str, float]]:
        """Return every video that the options allow, nearest first, with its cosine."""
        allowed = [key for key, video in self.videos.items() if key not in options.exclude and passes(video, options)]
        if options.cross_category:
            allowed = [key for key in allowed if self.videos[key]["category"] not in home - {""}]
        scored = [(key, float(self.vector(key) @ query)) for key in allowed]
        return sorted(scored, key=lambda pair: -pair[1])

    def like(self, video_id: str, options: Options) -> list[tuple[str, float]]:
        """Return the ranking for a video, without itself."""
        home = frozenset({self.videos[video_id]["category"]})
        ranked = self.ranked(self.vector(video_id), options, home)
        return [(key, score) for key, score in ranked if key != video_id]

    def agrees(self, results: RankedResults, expected: list[tuple[str, float]], top_k: int) -> None:
        """Check that results are the start of a ranking; ties may be in any order."""
        scores = dict(expected)
        ids = [found.video_id for found in results.results]
        assert len(set(ids)) == len(ids)
        assert set(ids) <= set(scores)
        np.testing.assert_allclose([found.score for found in results.results], [scores[i] for i in ids], atol=1e-5)
        np.testing.assert_allclose([scores[i] for i in ids], [score for _, score in expected[:top_k]], atol=1e-5)
        assert [found.title for found in results.results] == [self.videos[i]["title"] for i in ids]
        assert [found.extra for found in results.results] == [json.loads(self.videos[i]["extra"]) for i in ids]


def explanation(found: RankedVideo) -> ResultExplanation:
    """Return the explanation of a result; AssertionError if it has none."""
    assert found.explanation is not None
    return found.explanation


def passes(video: dict[str, Any], options: Options) -> bool:
    """Whether a video passes the filter of the options; reimplements the filters of these tests."""
    if options.filter is None:
        return True
    views: int | None = json.loads(video["extra"]).get("views")
    category: str = video["category"]
    tags = set(video["tags"])
    verdicts = [
        True,
        category == "sea",
        category not in {"sea", "sky"},
        bool(tags & {"blue", "old"}),
        views is not None and views >= 5,
        category == "city" or (views is not None and views < 2),
        False,
    ]
    return verdicts[[written and parse_filter(written) for written in FILTERS].index(options.filter)]


def random_options(rng: np.random.Generator, video_ids: Iterable[str], *, across: bool = True) -> Options:
    """Return random options that keep results in the order of their scores."""
    written = FILTERS[int(rng.integers(len(FILTERS)))] if rng.random() < 0.5 else None
    ids = list(video_ids)
    return Options(
        top_k=int(rng.choice([1, 2, 5, 30])),
        filter=None if written is None else parse_filter(written),
        exclude=frozenset(rng.choice(ids, int(rng.integers(len(ids))))) if rng.random() < 0.3 else frozenset(),
        cross_category=across and bool(rng.random() < 0.2),
    )

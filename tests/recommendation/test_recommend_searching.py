"""Results with an index (Milvus Lite) that lags behind the release, as it may for a moment between two writes."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from live_case import Release, at, explanation, pinned, random_options, random_video
from rayreel.index.config import IndexConfig
from rayreel.index.search import VideoIndex
from rayreel.index.write import create_collection, delete, make_searchable, upsert
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import by_id, by_vector
from rayreel.release.fill import index_rows
from release_rows import DIM, release_row, release_table

CONFIG = IndexConfig()


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory) -> Iterator[MilvusClient]:
    client = MilvusClient(str(tmp_path_factory.mktemp("milvus") / "lite.db"))
    yield client
    client.close()


def filled(client: MilvusClient, release: Release, version: int) -> str:
    """Create a collection with the current videos of the release."""
    collection = f"videos_v{version}"
    create_collection(client, collection, DIM, CONFIG)
    put(client, collection, *release.videos.values())
    make_searchable(client, collection, CONFIG)
    return collection


def put(client: MilvusClient, collection: str, *rows: dict[str, Any]) -> None:
    upsert(client, collection, index_rows(release_table(*rows)), CONFIG)


@pytest.mark.parametrize("seed", range(4))
def test_results_reflect_acknowledged_changes_even_if_the_index_lags(
    seed: int, client: MilvusClient, tmp_path: Path
) -> None:
    rng = np.random.default_rng(seed)
    names = [f"v{n:02}" for n in range(60)]
    release = Release(tmp_path, [random_video(rng, name) for name in names[:50]], neighbours=3)
    collection = filled(client, release, 100 + seed)
    index = VideoIndex(client, CONFIG)
    release.delete(*rng.choice(names[:50], 12, replace=False))
    release.put(*(random_video(rng, name) for name in rng.choice(names, 8, replace=False)))
    live = release.refresh()
    put(client, collection, random_video(rng, "unacknowledged"))  # a write not acknowledged yet
    for video_id in list(release.videos)[:15]:
        options = random_options(rng, names)
        answer = by_id(pinned(live, index, collection, exact_cells=0), video_id, options)
        release.agrees(answer, release.like(video_id, options), options.top_k)
        query = rng.normal(size=DIM).astype(np.float32)
        query /= np.linalg.norm(query)
        options = random_options(rng, names, across=False)
        answer = by_vector(pinned(live, index, collection, exact_cells=0), query, options)
        release.agrees(answer, release.ranked(query, options), options.top_k)


def test_hybrid_results_reflect_the_current_release_even_if_the_index_lags(
    client: MilvusClient, tmp_path: Path
) -> None:
    rows = [release_row(f"v{n}", embedding=at(n * 10), text="a blue whale" if n == 9 else "cars") for n in range(10)]
    release = Release(tmp_path, rows, neighbours=3)
    collection = filled(client, release, 200)
    release.delete("v0", "v1")
    release.put(release_row("v2", embedding=at(20), title="renamed", text="cars"))
    live, index, options = release.refresh(), VideoIndex(client, CONFIG), Options(3, hybrid=True, explain=True)
    answer = by_vector(pinned(live, index, collection), at(0), options, "whale")
    stages = {found.video_id: explanation(found).stage for found in answer.results}
    assert stages == {"v9": "bm25", "v2": "index", "v3": "index"}
    assert {found.title for found in answer.results} == {"film v9", "renamed", "film v3"}
    scores = [found.score for found in answer.results]
    assert scores == sorted(scores, reverse=True)
    assert scores[0] <= 2 / 61
    delete(client, collection, ["v0", "v1"], CONFIG)
    caught_up = by_vector(pinned(live, index, collection), at(0), options, "whale")
    assert {found.video_id for found in caught_up.results} == set(stages)


def test_a_hybrid_query_by_video_uses_its_title_as_words(client: MilvusClient, tmp_path: Path) -> None:
    rows = [release_row(f"v{n}", embedding=at(n * 10), title="", text="cars") for n in range(8)]
    rows += [release_row(name, embedding=at(d), title="whales", text="whales") for name, d in (("a", 0), ("b", 179))]
    release = Release(tmp_path, rows, neighbours=3)
    collection, index = filled(client, release, 201), VideoIndex(client, CONFIG)
    answer = by_id(pinned(release.live, index, collection), "a", Options(2, hybrid=True))
    assert {found.video_id for found in answer.results} == {"v0", "b"}
    with pytest.raises(BadQuery, match="words"):
        by_id(pinned(release.live, index, collection), "v1", Options(hybrid=True))

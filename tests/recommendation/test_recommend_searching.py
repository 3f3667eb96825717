"""Results with an index (Milvus Lite) that lags behind the release, as it may for a moment between two writes."""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from pymilvus import MilvusClient

from live_case import Release, pinned, random_options, random_video
from rayreel.index.config import IndexConfig
from rayreel.index.search import VideoIndex
from rayreel.index.write import create_collection, make_searchable, upsert
from rayreel.recommendation.recommend import by_id, by_vector
from rayreel.release.fill import index_rows
from release_rows import DIM, release_table

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
        hybrid = replace(options, hybrid=True)
        answer = by_vector(pinned(live, index, collection, exact_cells=0), query, hybrid, f"film {video_id}")
        same = by_vector(pinned(live), query, hybrid, f"film {video_id}")
        assert [found.video_id for found in answer] == [found.video_id for found in same]

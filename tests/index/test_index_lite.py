import numpy as np
import pytest
from pymilvus import MilvusClient

from index_filling import Fill
from rayreel.index.collection import version_of
from rayreel.index.config import IndexConfig
from rayreel.index.filters import parse_filter
from rayreel.index.search import VideoIndex
from rayreel.index.write import IndexRow, delete, upsert

ROWS = 3000


@pytest.fixture(scope="module")
def many() -> list[IndexRow]:
    points = np.random.default_rng(3).normal(size=(ROWS, 32)).astype(np.float32)
    return [IndexRow(f"v{n}", point, category=f"c{n % 100}", extra={"n": n % 100}) for n, point in enumerate(points)]


@pytest.fixture(scope="module")
def index(client: MilvusClient, config: IndexConfig, many: list[IndexRow], fill: Fill) -> VideoIndex:
    return VideoIndex(client, config, fill(1, many))


@pytest.mark.parametrize("written", [{"category": "c7"}, {"extra.n": 7}, {"extra.n": {"gte": 7, "lte": 9}}])
def test_a_search_with_a_strict_filter_is_exact(
    client: MilvusClient, index: VideoIndex, many: list[IndexRow], written: dict[str, object]
) -> None:
    passing = [row for n, row in enumerate(many) if n % 100 == 7 or ("gte" in str(written) and 7 <= n % 100 <= 9)]
    for query in (many[0].embedding, many[1].embedding):
        scores = [row.embedding @ query / np.linalg.norm(row.embedding) for row in passing]
        expected = [passing[n].video_id for n in np.argsort(scores)[::-1][:10]]
        for _ in range(2):
            assert [hit.video_id for hit in index.search(query, 10, filter=parse_filter(written))] == expected


def test_a_repeated_filter_sees_later_writes(
    client: MilvusClient, config: IndexConfig, many: list[IndexRow], fill: Fill
) -> None:
    collection = fill(2, many[:500])
    index, wanted = VideoIndex(client, config, collection), parse_filter({"extra.n": 7})
    query = many[7].embedding
    assert len(index.search(query, 50, filter=wanted)) == 5
    upsert(
        client, collection, [IndexRow("new", query, extra={"n": 7}), IndexRow("v107", query, extra={"n": 8})], config
    )
    delete(client, collection, ["v207"], config)
    for _ in range(2):
        assert {hit.video_id for hit in index.search(query, 50, filter=wanted)} == {"v7", "v307", "v407", "new"}
        client.flush(collection)
    fill(version_of(collection) % 100, many[:110])
    assert {hit.video_id for hit in index.search(query, 50, filter=wanted)} == {"v7", "v107"}

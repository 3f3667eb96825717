from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import MilvusClient

from rayreel.index.build import (
    IndexBroken,
    IndexInUse,
    IndexRow,
    alias_target,
    build,
    drop_collection,
    switch_alias,
)
from rayreel.index.collection import ID_BYTES, MAX_TAGS, TITLE_BYTES
from rayreel.index.config import IndexConfig
from rayreel.index.search import VideoIndex


def test_a_build_counts_probes_and_reports_progress(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    heard: list[int] = []
    report = build(client, 1, iter(rows), config, expected=300, progress=heard.append)
    assert (report.collection, report.rows, report.probed) == ("videos_v1", 300, 100)
    assert heard == [100, 200, 300]


def test_hnsw_is_on_disk_when_a_build_returns(
    client: MilvusClient, data_dir: Path, config: IndexConfig, rows: list[IndexRow]
) -> None:
    build(client, 2, rows, config, expected=300)
    assert list((data_dir / "collections" / "videos_v2").rglob("*.embedding.hnsw.idx"))


@pytest.mark.parametrize("expected", [299, 301, 0])
def test_a_wrong_row_count_fails_the_build_and_drops_it(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], expected: int
) -> None:
    with pytest.raises(IndexBroken, match="300"):
        build(client, 3, rows, config, expected=expected)
    assert not client.has_collection("videos_v3")


def test_an_empty_index_is_never_a_release(client: MilvusClient, config: IndexConfig) -> None:
    with pytest.raises(IndexBroken):
        build(client, 3, [], config, expected=0)


def test_a_repeated_id_is_noticed_even_where_the_count_agrees(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    twice = [*rows, replace(rows[0], embedding=rows[1].embedding)]
    with pytest.raises(IndexBroken, match="'v0'"):
        build(client, 3, twice, config, expected=300)
    assert not client.has_collection("videos_v3")


def test_a_stored_vector_that_differs_in_length_only_is_noticed_too(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    twice = [*rows[:5], replace(rows[0], embedding=2 * rows[0].embedding)]
    with pytest.raises(IndexBroken, match="not stored as they were sent"):
        build(client, 3, twice, config, expected=5)


@pytest.mark.parametrize("bad", [np.full(32, np.nan), np.zeros(32), np.ones(31)])
def test_an_unusable_embedding_is_refused_by_video(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], bad: np.ndarray
) -> None:
    with pytest.raises(IndexBroken, match="v5"):
        build(client, 3, [*rows[:5], replace(rows[5], embedding=bad)], config, expected=6)
    assert not client.has_collection("videos_v3")


def test_a_page_of_exact_duplicates_is_no_fault(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    same = [replace(rows[0], video_id=f"copy{n}") for n in range(40)]
    assert build(client, 3, same, config, expected=40).rows == 40


def test_a_second_build_of_a_version_replaces_the_first(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    build(client, 4, rows, config, expected=300)
    build(client, 4, rows[:50], config, expected=50)
    assert VideoIndex(client, config, "videos_v4").count() == 50


def test_a_build_that_died_half_way_is_replaced(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    def dying() -> Iterator[IndexRow]:
        yield from rows[:150]
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        build(client, 5, dying(), config, expected=300)
    assert build(client, 5, rows[150:], config, expected=150).rows == 150


def test_the_alias_moves_and_what_serves_is_never_replaced_or_dropped(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    build(client, 6, rows, config, expected=300)
    build(client, 7, rows[:10], config, expected=10)
    assert alias_target(client, "videos") is None
    switch_alias(client, "videos", "videos_v6")
    with pytest.raises(IndexInUse, match="videos"):
        build(client, 6, rows, config, expected=300)
    with pytest.raises(IndexInUse):
        drop_collection(client, "videos_v6")
    switch_alias(client, "videos", "videos_v7")
    assert alias_target(client, "videos") == "videos_v7"
    drop_collection(client, "videos_v6")
    assert VideoIndex(client, config).count() == 10


def test_dropping_what_is_not_there_does_nothing(client: MilvusClient) -> None:
    drop_collection(client, "videos_v99")


def test_every_column_survives_and_long_text_is_cut(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    row = replace(
        rows[0],
        video_id="é" * 512,
        title="é" * TITLE_BYTES,
        tags=tuple(f"tag{n}" for n in range(MAX_TAGS + 5)),
        uri="s3://bucket/é.mp4",
        extra={"views": 7, "nsfw": False, "lang": "de", "score": 0.5, "none": None},
    )
    build(client, 8, [row, *rows[1:10]], config, expected=10)
    columns = ["title", "category", "tags", "uri", "extra"]
    (stored,) = client.query("videos_v8", filter='extra["views"] == 7', output_fields=columns)
    assert len(stored["video_id"].encode()) == 1024 < ID_BYTES
    assert stored["title"] == "é" * (TITLE_BYTES // 2)
    assert list(stored["tags"]) == list(row.tags[:MAX_TAGS])
    assert (stored["uri"], stored["category"], stored["extra"]) == (row.uri, row.category, row.extra)
    assert len(client.query("videos_v8", filter='array_contains(tags, "tag3")')) == 1

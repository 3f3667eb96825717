import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from pymilvus import MilvusClient

from index_filling import DIM, NASTY, Fill
from rayreel.index import write
from rayreel.index.alias import drop_collection, switch_alias
from rayreel.index.collection import ID_BYTES, MAX_TAGS, TITLE_BYTES, untyped
from rayreel.index.config import IndexConfig, IndexUnavailable
from rayreel.index.search import VideoIndex
from rayreel.index.write import (
    IndexBroken,
    IndexRow,
    create_collection,
    delete,
    make_searchable,
    stored_versions,
    upsert,
)


def test_upserts_report_acknowledged_rows(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    acknowledged: list[int] = []
    collection = fill(1, [])
    assert upsert(client, collection, iter(rows[:250]), config, acknowledged.append) == 250
    assert acknowledged == [100, 200, 250]
    assert VideoIndex(client, config, collection).count() == 250


def test_upserting_the_same_rows_changes_nothing_and_newer_rows_replace(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    collection = fill(1, rows[:50])
    upsert(client, collection, rows[:50], config)
    changed = replace(rows[7], title="another", version="newer", embedding=rows[8].embedding)
    upsert(client, collection, [changed], config)
    index = VideoIndex(client, config, collection)
    assert index.count() == 50
    np.testing.assert_array_equal(index.get("v7"), rows[8].embedding)
    expected = {row.video_id: row.version for row in rows[:50]} | {"v7": "newer"}
    assert stored_versions(client, collection, config) == expected


def test_an_interrupted_fill_is_completed_by_the_next_one(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    def interrupted() -> Iterator[IndexRow]:
        yield from rows[:150]
        raise ConnectionResetError

    collection = fill(1, [])
    with pytest.raises(ConnectionResetError):
        upsert(client, collection, interrupted(), config)
    upsert(client, collection, rows, config)
    make_searchable(client, collection, config)
    assert stored_versions(client, collection, config).keys() == {row.video_id for row in rows}


def test_deleted_videos_disappear_at_once_and_deleting_is_idempotent(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    collection = fill(1, rows)
    index = VideoIndex(client, config, collection)
    for _ in range(2):
        delete(client, collection, ["v0", "v6", "unknown"], config)
        assert index.count() == 298
        assert {"v0", "v6"}.isdisjoint(hit.video_id for hit in index.search(rows[0].embedding, 20))
        assert {"v0", "v6"}.isdisjoint(hit.video_id for hit in index.by_words("tide0 tide6", 60))


def test_a_deleted_video_can_be_added_again(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    collection = fill(1, rows[:20])
    delete(client, collection, ["v3"], config)
    upsert(client, collection, [rows[3]], config)
    assert VideoIndex(client, config, collection).search(rows[3].embedding, 1)[0].video_id == "v3"


def test_versions_are_read_in_pages_for_ids_of_any_characters(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(write, "PAGE_ROWS", 3)
    nasty = [replace(row, video_id=name) for row, name in zip(rows, NASTY, strict=False)]
    collection = fill(1, nasty)
    assert stored_versions(client, collection, config) == {row.video_id: row.version for row in nasty}


def test_ids_of_any_characters_can_be_deleted(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    nasty = [replace(row, video_id=name) for row, name in zip(rows, NASTY, strict=False)]
    collection = fill(1, [*nasty, *rows[100:110]])
    delete(client, collection, NASTY, config)
    assert stored_versions(client, collection, config).keys() == {row.video_id for row in rows[100:110]}


@pytest.mark.parametrize("bad", [np.full(32, np.nan), np.zeros(32), np.ones(31)])
def test_an_unusable_embedding_is_reported_with_its_video(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill, bad: np.ndarray
) -> None:
    with pytest.raises(IndexBroken, match="v5"):
        upsert(client, fill(1, []), [*rows[:5], replace(rows[5], embedding=bad)], config)


def test_all_columns_are_stored_and_long_texts_are_cut(client: MilvusClient, rows: list[IndexRow], fill: Fill) -> None:
    row = replace(
        rows[0],
        video_id="é" * 512,
        title="é" * TITLE_BYTES,
        tags=tuple(f"tag{n}" for n in range(MAX_TAGS + 5)),
        uri="s3://bucket/é.mp4",
        extra={"views": 700, "nsfw": False, "lang": "de", "score": 0.5, "none": None, "nan": float("nan")},
        text="é" * 65_535,
    )
    collection = fill(2, [row, *rows[1:10]])
    columns = ["title", "category", "tags", "uri", "extra", "version", "text"]
    (stored,) = client.query(collection, filter='extra["number"]["views"] == 700', output_fields=columns)
    assert len(stored["video_id"].encode()) == 1024 < ID_BYTES
    assert stored["title"] == "é" * (TITLE_BYTES // 2)
    assert list(stored["tags"]) == list(row.tags[:MAX_TAGS])
    assert (stored["uri"], stored["category"], stored["version"]) == (row.uri, row.category, row.version)
    assert untyped(stored["extra"]) == {"views": 700, "nsfw": False, "lang": "de", "score": 0.5}
    assert len(stored["text"].encode()) == 65_534


def test_a_serving_collection_answers_during_an_update(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    collection = fill(3, rows[:150])
    switch_alias(client, config.alias, collection)
    index, done, answers = VideoIndex(client, config), threading.Event(), []

    def search() -> None:
        while not done.is_set():
            answers.append(len(index.search(rows[0].embedding, 10)))

    with ThreadPoolExecutor(1) as pool:
        searching = pool.submit(search)
        for start in range(150, 300, 50):
            upsert(client, collection, rows[start : start + 50], config)
            make_searchable(client, collection, config)
        done.set()
        searching.result()
    assert set(answers) == {10}
    assert index.count() == 300


def test_concurrent_writers_lose_nothing_and_searches_during_a_flush_are_complete(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    collection = fill(4, rows[:100])
    index, done, answers = VideoIndex(client, config, collection), threading.Event(), []
    small = config.model_copy(update={"batch_rows": 10})

    def add(writer: int) -> None:
        upsert(client, collection, [replace(row, video_id=f"{writer}-{row.video_id}") for row in rows], small)

    def flush() -> None:
        while not done.is_set():
            client.flush(collection)

    def search() -> None:
        while not done.is_set():
            answers.append({hit.video_id for hit in index.search(rows[0].embedding, 100)} >= {"v0"})

    with ThreadPoolExecutor(6) as pool:
        background = [pool.submit(flush), pool.submit(search)]
        try:
            for writing in [pool.submit(add, writer) for writer in range(4)]:
                writing.result()
        finally:
            done.set()
        for future in background:
            future.result()
    assert index.count() == len(stored_versions(client, collection, config)) == 100 + 4 * 300
    assert all(answers)


def test_indexes_are_on_disk_once_a_collection_is_searchable(
    embedded: MilvusClient, data_dir: Path, plain: IndexConfig, rows: list[IndexRow]
) -> None:
    create_collection(embedded, "videos_v2", DIM, plain)
    create_collection(embedded, "videos_v2", DIM, plain)
    upsert(embedded, "videos_v2", rows, plain)
    make_searchable(embedded, "videos_v2", plain)
    make_searchable(embedded, "videos_v2", plain)
    assert list((data_dir / "collections" / "videos_v2").rglob("*.embedding.hnsw.idx"))
    assert sorted(embedded.list_indexes("videos_v2")) == ["embedding", "sparse"]
    drop_collection(embedded, "videos_v2")


def test_the_index_does_not_store_secrets_of_urls(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    signed = replace(rows[0], uri="https://user:hunter2@host.example/a.mp4?X-Amz-Signature=hunter2")
    collection = fill(1, [signed, replace(rows[1], uri="/data/what? #1.mp4")])
    kept = client.query(
        collection, filter=f'video_id in ["{rows[0].video_id}", "{rows[1].video_id}"]', output_fields=["uri"]
    )
    assert {row["uri"] for row in kept} == {"https://host.example/a.mp4", "/data/what? #1.mp4"}


def test_a_build_that_does_not_end_or_fails_is_reported_with_a_remedy() -> None:
    with pytest.raises(IndexUnavailable, match=r"within 0\.05 s\. Raise index\.build_timeout_s"):
        write._await_index(lambda: {"state": "InProgress"}, 0.05)
    with pytest.raises(IndexBroken, match="failed to build the index sparse"):
        write._await_index(lambda: {"state": "Failed", "index_name": "sparse"}, 60)

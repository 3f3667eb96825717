from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from rayreel.index.build import IndexRow, build, switch_alias
from rayreel.index.config import IndexConfig
from rayreel.index.search import NoRelease, UnknownVideo, VideoIndex

NASTY = [
    'quo"te',
    "apo'strophe",
    "back\\slash",
    "\\",
    'end\\"',
    "new\nline",
    "tab\tcr\r",
    "日本語 😀",
    '"] or true',
    "%_ {x}",
]


@pytest.fixture(scope="module")
def index(client: MilvusClient, config: IndexConfig, rows: list[IndexRow]) -> VideoIndex:
    build(client, 1, rows, config, expected=300)
    switch_alias(client, "videos", "videos_v1")
    return VideoIndex(client, config)


def nearest(rows: list[IndexRow], query: np.ndarray) -> list[str]:
    scores = np.stack([row.embedding for row in rows]) @ query
    return [rows[n].video_id for n in np.argsort(-scores)]


def test_search_agrees_with_exact_search(index: VideoIndex, rows: list[IndexRow]) -> None:
    for row in rows[::30]:
        hits = index.search(row.embedding, 10)
        assert [hit.video_id for hit in hits] == nearest(rows, row.embedding)[:10]
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)


def test_a_hit_carries_title_and_category(index: VideoIndex, rows: list[IndexRow]) -> None:
    (hit,) = index.search(rows[8].embedding, 1)
    assert (hit.video_id, hit.title, hit.category) == ("v8", "video 8", "c2")


def test_excluding_the_nearest_hundreds_still_fills_the_page(index: VideoIndex, rows: list[IndexRow]) -> None:
    ranking = nearest(rows, rows[0].embedding)
    hits = index.search(rows[0].embedding, 20, exclude=ranking[:250])
    assert [hit.video_id for hit in hits] == ranking[250:270]


def test_an_exhausted_collection_gives_what_is_left(index: VideoIndex, rows: list[IndexRow]) -> None:
    hits = index.search(rows[0].embedding, 20, exclude=[row.video_id for row in rows[3:]])
    assert {hit.video_id for hit in hits} == {"v0", "v1", "v2"}


def test_similar_leaves_out_the_video_itself_and_what_was_seen(index: VideoIndex, rows: list[IndexRow]) -> None:
    ranking = nearest(rows, rows[0].embedding)
    hits = index.similar("v0", 5, exclude=[ranking[1], ranking[3]])
    assert [hit.video_id for hit in hits] == [ranking[2], *ranking[4:8]]


def test_a_video_comes_back_as_it_was_sent(index: VideoIndex, rows: list[IndexRow]) -> None:
    np.testing.assert_array_equal(index.get("v17"), rows[17].embedding)


def test_an_unknown_video_is_none_to_get_and_an_error_to_similar(index: VideoIndex) -> None:
    assert index.get("nobody") is None
    with pytest.raises(UnknownVideo, match="nobody"):
        index.similar("nobody", 3)


def test_ids_of_any_characters_are_found_and_excluded(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    nasty = [replace(row, video_id=name) for row, name in zip(rows, NASTY, strict=False)]
    build(client, 2, nasty, config, expected=len(NASTY))
    index = VideoIndex(client, config, "videos_v2")
    for row in nasty:
        np.testing.assert_array_equal(index.get(row.video_id), row.embedding)
        others = {hit.video_id for hit in index.similar(row.video_id, len(NASTY))}
        assert others == set(NASTY) - {row.video_id}
    assert index.search(rows[0].embedding, 5, exclude=NASTY) == []


def test_a_request_pinned_to_a_release_does_not_see_the_alias_move(
    client: MilvusClient, config: IndexConfig, index: VideoIndex, rows: list[IndexRow]
) -> None:
    build(client, 3, rows[:2], config, expected=2)
    pinned = index.collection()
    switch_alias(client, "videos", "videos_v3")
    assert (index.release(), index.count()) == (3, 2)
    assert index.count(collection=pinned) == 300
    assert len(index.similar("v100", 10, collection=pinned)) == 10
    switch_alias(client, "videos", "videos_v1")
    assert (index.release(), index.count()) == (1, 300)


def test_before_any_promotion_a_search_says_so(client: MilvusClient, config: IndexConfig, rows: list[IndexRow]) -> None:
    unpromoted = VideoIndex(client, config.model_copy(update={"alias": "nothing"}))
    with pytest.raises(NoRelease, match="promote"):
        unpromoted.search(rows[0].embedding, 3)

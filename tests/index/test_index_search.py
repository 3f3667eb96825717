from dataclasses import replace

import numpy as np
import pytest
from pymilvus import MilvusClient

from index_filling import FIRST, NASTY, Fill
from rayreel.index.alias import switch_alias
from rayreel.index.collection import version_of
from rayreel.index.config import IndexConfig
from rayreel.index.filters import matches, parse_filter
from rayreel.index.search import Hit, NoRelease, VideoIndex
from rayreel.index.write import IndexRow


@pytest.fixture(scope="module")
def index(client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill) -> VideoIndex:
    switch_alias(client, config.alias, fill(1, rows))
    return VideoIndex(client, config)


def nearest(rows: list[IndexRow], query: np.ndarray) -> list[str]:
    scores = np.stack([row.embedding for row in rows]) @ query
    return [rows[n].video_id for n in np.argsort(-scores)]


def ids(hits: list[Hit]) -> list[str]:
    return [hit.video_id for hit in hits]


def test_search_agrees_with_exact_search(index: VideoIndex, rows: list[IndexRow]) -> None:
    for row in rows[::30]:
        hits = index.search(row.embedding, 10)
        assert ids(hits) == nearest(rows, row.embedding)[:10]
        assert hits[0].score == pytest.approx(1.0, abs=1e-5)


def test_a_hit_has_title_category_tags_and_extra_columns(index: VideoIndex, rows: list[IndexRow]) -> None:
    (hit,) = index.search(rows[8].embedding, 1)
    extra = {"views": 8, "lang": "de", "created_at": 1e9 + 8, "duration_s": 3.5}
    assert hit == Hit("v8", hit.score, "video 8", "c2", ("t3", "u1"), extra)


def test_excluding_hundreds_of_nearest_videos_still_returns_enough(index: VideoIndex, rows: list[IndexRow]) -> None:
    ranking = nearest(rows, rows[0].embedding)
    assert ids(index.search(rows[0].embedding, 20, exclude=ranking[:250])) == ranking[250:270]


def test_a_search_returns_fewer_videos_if_the_collection_is_exhausted(index: VideoIndex, rows: list[IndexRow]) -> None:
    hits = index.search(rows[0].embedding, 20, exclude=[row.video_id for row in rows[3:]])
    assert set(ids(hits)) == {"v0", "v1", "v2"}


def test_excluded_videos_are_left_out(index: VideoIndex, rows: list[IndexRow]) -> None:
    ranking = nearest(rows, rows[0].embedding)
    hits = index.search(rows[0].embedding, 5, exclude=["v0", ranking[1], ranking[3]])
    assert ids(hits) == [ranking[2], *ranking[4:8]]


@pytest.mark.parametrize(
    "written",
    [
        {"category": "c3"},
        {"video_id": {"in": ["v3", "v299"]}},
        {"extra.views": {"lt": 4}},
        {"tags": {"all": ["t0", "u0"]}, "not": {"extra.lang": "de"}},
        {"created_at": {"gte": 1e9 + 10, "lt": 1e9 + 60}},
        {"duration_s": {"gt": 4}},
    ],
)
def test_a_filtered_search_equals_exact_search_over_matching_videos(
    index: VideoIndex, rows: list[IndexRow], written: dict[str, object]
) -> None:
    wanted = parse_filter(written)
    passing = [row for row in rows if matches(wanted, vars_of(row))]
    for query in (rows[0].embedding, rows[100].embedding):
        expected = nearest(passing, query)[:20] if passing else []
        assert ids(index.search(query, 20, filter=wanted)) == expected
        assert ids(index.search(query, 5, exclude=expected[:3], filter=wanted)) == expected[3:8]


def vars_of(row: IndexRow) -> dict[str, object]:
    return {name: getattr(row, name) for name in ("video_id", "category", "tags", "extra")}


def test_a_filtered_search_falls_back_to_exact_search_if_hnsw_finds_too_few(
    index: VideoIndex, rows: list[IndexRow], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(VideoIndex, "_nearest", lambda *_: [])
    wanted = parse_filter({"category": {"in": ["c4", "c5"]}})
    expected = nearest([row for row in rows if row.category in ("c4", "c5")], rows[0].embedding)
    assert ids(index.search(rows[0].embedding, 100, filter=wanted)) == expected


def test_a_filtered_search_widens_hnsw_if_too_many_rows_pass_for_exact_search(
    client: MilvusClient, config: IndexConfig, index: VideoIndex, rows: list[IndexRow]
) -> None:
    index = VideoIndex(client, config.model_copy(update={"exact_rows": 10}))
    wanted = parse_filter({"category": {"in": ["c4", "c5"]}})
    expected = nearest([row for row in rows if row.category in ("c4", "c5")], rows[0].embedding)
    assert set(ids(index.search(rows[0].embedding, 200, filter=wanted))) == set(expected)


def test_a_search_by_words_matches_texts_and_respects_filter_and_exclusions(index: VideoIndex) -> None:
    assert ids(index.by_words("a MOON7!", 10)) == ["v7"]
    tides = index.by_words("tide4", 50)
    assert {int(hit.video_id[1:]) % 10 for hit in tides} == {4}
    assert len(tides) == 30
    german = parse_filter({"extra.lang": "de", "extra.views": {"lt": 100}})
    assert set(ids(index.by_words("tide4", 50, ["v4"], filter=german))) == {f"v{n}" for n in range(14, 100, 10)}
    assert index.by_words("unknown words", 10) == []
    assert index.by_words("?!", 10) == []


def test_a_stored_embedding_is_returned_exactly(index: VideoIndex, rows: list[IndexRow]) -> None:
    np.testing.assert_array_equal(index.get("v17"), rows[17].embedding)


def test_many_vectors_are_fetched_in_batches_without_unknown_ids(
    client: MilvusClient, config: IndexConfig, index: VideoIndex, rows: list[IndexRow]
) -> None:
    index = VideoIndex(client, config.model_copy(update={"exact_rows": 40}))
    found = index.vectors([row.video_id for row in rows] + ["unknown"])
    assert found.keys() == {row.video_id for row in rows}
    assert all((found[row.video_id] == row.embedding).all() for row in rows)


def test_an_unknown_video_has_no_vector(index: VideoIndex) -> None:
    assert index.get("unknown") is None


def test_ids_of_any_characters_are_found_and_excluded(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow], fill: Fill
) -> None:
    nasty = [replace(row, video_id=name) for row, name in zip(rows, NASTY, strict=False)]
    index = VideoIndex(client, config, fill(2, nasty))
    for row in nasty:
        np.testing.assert_array_equal(index.get(row.video_id), row.embedding)
        assert set(ids(index.search(row.embedding, len(NASTY), [row.video_id]))) == set(NASTY) - {row.video_id}
    assert index.search(rows[0].embedding, 5, exclude=NASTY) == []


def test_a_request_pinned_to_a_release_is_not_affected_by_the_alias(
    client: MilvusClient, config: IndexConfig, index: VideoIndex, rows: list[IndexRow], fill: Fill
) -> None:
    pinned = index.collection()
    switch_alias(client, config.alias, fill(3, rows[:2]))
    assert (version_of(index.collection()), index.count()) == (FIRST + 3, 2)
    assert index.count(collection=pinned) == 300
    assert len(index.search(rows[0].embedding, 10, collection=pinned)) == 10
    assert len(index.by_words("tide4", 10, collection=pinned)) == 10
    switch_alias(client, config.alias, pinned)
    assert (version_of(index.collection()), index.count()) == (FIRST + 1, 300)


def test_a_search_before_any_promotion_raises_an_error(
    client: MilvusClient, config: IndexConfig, rows: list[IndexRow]
) -> None:
    unpromoted = VideoIndex(client, config.model_copy(update={"alias": "nothing"}))
    with pytest.raises(NoRelease, match="promote"):
        unpromoted.search(rows[0].embedding, 3)

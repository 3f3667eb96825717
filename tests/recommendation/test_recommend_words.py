"""Hybrid searches: by embedding and by words."""

from pathlib import Path

import numpy as np
import pytest

from live_case import Release, at, explanation, pinned
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import by_id, by_vector
from rayreel.recommendation.results import RankedResults
from rayreel.speech.transcript import SpokenSegment
from release_rows import release_row

HYBRID = Options(4, hybrid=True, explain=True)


@pytest.fixture
def release(tmp_path: Path) -> Release:
    """Ten videos at angles of 0 to 90 degrees from the query, with little in common but cars."""
    titles = ["fast cars", "old cars", "cars", "", "", "", "", "", "cars and whales", "a blue whale"]
    rows = [release_row(f"v{n}", embedding=at(n * 10), title=t, tags=[]) for n, t in enumerate(titles)]
    return Release(tmp_path, rows, neighbours=3)


def ids(results: RankedResults) -> list[str]:
    return [found.video_id for found in results]


@pytest.mark.parametrize("text", ["the and of", "zebras", "!", "of a zebra"])
def test_a_query_without_a_matching_word_is_answered_as_by_embedding_alone(release: Release, text: str) -> None:
    dense = by_vector(pinned(release.live), at(3), Options(4))
    hybrid = by_vector(pinned(release.live), at(3), Options(4, hybrid=True), text)
    assert [found[:2] for found in hybrid] == [found[:2] for found in dense]


def test_words_move_the_videos_that_have_all_of_them_up(release: Release) -> None:
    found = by_vector(pinned(release.live), at(61), HYBRID, "blue whales")
    assert ids(found)[:3] == ["v9", "v6", "v7"]
    assert found[0].score == pytest.approx(np.cos(np.deg2rad(29)) + release.live.snapshot.word_weight, abs=1e-5)
    assert found[0].cosine == pytest.approx(np.cos(np.deg2rad(29)), abs=1e-5)
    assert found[1].score == found[1].cosine == pytest.approx(1, abs=1e-3)
    assert [explanation(video).stage for video in found][:3] == ["bm25", "index", "index"]


def test_one_frequent_word_of_several_hardly_changes_the_order(release: Release) -> None:
    dense = by_vector(pinned(release.live), at(45), Options(10))
    hybrid = by_vector(pinned(release.live), at(45), Options(3, hybrid=True), "cars in the snow")
    assert ids(hybrid) == ids(dense)[:3]


def test_words_follow_what_was_changed_added_and_deleted_since_the_snapshot(release: Release) -> None:
    release.put(release_row("v2", embedding=at(20), title="a whale"))
    release.put(
        release_row("new", embedding=at(85), title="", description="it is a blue whale", tags=["blue", "whales"])
    )
    release.delete("v9")
    found = by_vector(pinned(release.refresh()), at(61), HYBRID, "blue whale")
    assert ids(found)[0] == "new" and "v9" not in ids(found)
    words = {video.video_id: video.score - (video.cosine or 0) for video in found}
    assert words["new"] == pytest.approx(release.live.snapshot.word_weight, abs=1e-5)
    release.snapshot(neighbours=3)
    again = by_vector(pinned(release.live), at(61), HYBRID, "blue whale")
    assert ids(again) == ids(found)
    np.testing.assert_allclose([video.score for video in again], [video.score for video in found], rtol=1e-5)


def test_a_word_that_is_only_spoken_finds_its_video_and_the_second_also_after_the_snapshot(release: Release) -> None:
    said = [(0.0, 2.5, "Welcome to the whales"), (61.25, 64.0, "and here are two submarines")]
    segments = [dict(zip(("start_s", "end_s", "text"), segment, strict=True)) for segment in said]
    release.put(release_row("v5", embedding=at(50), title="", segments=segments, spoken_language="en"))
    for live in (release.refresh(), release.snapshot(neighbours=3)):
        best, *others = by_vector(pinned(live), at(30), HYBRID, "where is the submarine?")
        assert best.video_id == "v5" and explanation(best).passage == SpokenSegment(61.25, 64.0, said[1][2])
        assert {explanation(other).passage for other in others} == {None}
        assert live.transcript(live.place("v5")).language == "en"
        # Also without hybrid; a query without words has no passage.
        dense = by_vector(pinned(live), at(50), Options(1, explain=True), "a whale")
        assert explanation(dense[0]).passage == SpokenSegment(0, 2.5, said[0][2])
        assert explanation(by_vector(pinned(live), at(50), Options(1, explain=True))[0]).passage is None


def test_a_hybrid_query_by_video_uses_its_title_as_words(release: Release) -> None:
    found = by_id(pinned(release.live), "v9", HYBRID)
    assert ids(found)[0] == "v8" and found[0].score > (found[0].cosine or 1)
    with pytest.raises(BadQuery, match="words"):
        by_id(pinned(release.live), "v4", Options(hybrid=True))


def test_words_find_only_what_filter_and_exclusions_allow(release: Release) -> None:
    options = Options(10, hybrid=True, exclude=frozenset({"v9"}), threshold=float(np.cos(np.deg2rad(41))))
    assert ids(by_vector(pinned(release.live), at(40), options, "blue whale"))[0] == "v4"
    assert "v9" not in ids(by_vector(pinned(release.live), at(40), options, "blue whale"))


@pytest.mark.parametrize("hybrid", [False, True])
def test_no_result_is_farther_than_the_threshold(release: Release, hybrid: bool) -> None:
    options = Options(10, hybrid=hybrid, threshold=float(np.cos(np.deg2rad(25))), serendipity=0.5)
    found = by_vector(pinned(release.live), at(40), options, "a blue whale" if hybrid else None)
    assert set(ids(found)) == {"v2", "v3", "v4", "v5", "v6"}
    assert ids(by_id(pinned(release.live), "v4", Options(threshold=0.99))) == []

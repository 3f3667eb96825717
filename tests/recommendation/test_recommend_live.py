from pathlib import Path
from typing import Any

import numpy as np

from live_case import Release, at, pinned
from rayreel.encoders.encoder import Modality
from rayreel.recommendation.query import Options
from rayreel.recommendation.recommend import by_id_fast, by_vector
from release_rows import release_row


def some(*video_ids: str) -> list[dict[str, Any]]:
    return [release_row(video_id) for video_id in video_ids]


def test_an_older_state_of_the_release_is_not_affected_by_changes(tmp_path: Path) -> None:
    release = Release(tmp_path, some("a", "b", "c"), neighbours=5)
    before = release.live
    release.delete("b")
    release.put(*some("d"))
    after = release.refresh()
    assert [row.video_id for row in before.page("", 10)] == ["a", "b", "c"]
    assert [row.video_id for row in after.page("", 10)] == ["a", "c", "d"]
    answers = [by_id_fast(live, "a", Options()) for live in (before, after)]
    assert [{found.video_id for found in answer.results} for answer in answers if answer] == [{"b", "c"}, {"c", "d"}]


def test_a_release_without_some_videos_answers_as_if_they_had_never_been_there(tmp_path: Path) -> None:
    mine = Release(tmp_path / "mine", some("a", "b", "c", "d", "e"), neighbours=5)
    theirs = Release(tmp_path / "theirs", some("a", "b", "c"), neighbours=5)
    mine.put(*some("f", "g"))
    theirs.put(*some("d", "f"))
    theirs.delete("b")
    live = mine.refresh()
    gone = live.absent_from(theirs.refresh())
    assert gone == {"b", "e", "g"} and theirs.live.absent_from(live) == set()
    shown = live.without(gone)
    assert [row.video_id for row in shown.page("", 10)] == ["a", "c", "d", "f"] and shown.state != live.state
    answer = by_vector(pinned(shown), mine.vector("a"), Options())
    assert answer.results[0].video_id == "a" and len(answer.results) == 4
    assert live.without(set()) is live and "b" in live


def test_pages_have_no_gaps_or_duplicates_after_changes(tmp_path: Path) -> None:
    release = Release(tmp_path, some("b", "d", "f", "h"), neighbours=5)
    release.put(*some("a", "e", "d", "i"))
    release.delete("f", "missing")
    live, seen = release.refresh(), [""]
    while page := live.page(seen[-1], 2):
        assert len(page) <= 2
        seen += [row.video_id for row in page]
    assert seen[1:] == ["a", "b", "d", "e", "h", "i"] == sorted(release.videos)


def test_the_state_changes_only_with_new_parts_and_snapshots(tmp_path: Path) -> None:
    release = Release(tmp_path, some("a", "b"), neighbours=5)
    states = [release.live.state, release.refresh().state]
    release.put(*some("c"))
    states += [release.refresh().state, release.refresh().state, release.snapshot(5).state]
    assert [states.index(state) for state in states] == [0, 0, 2, 2, 4]


def test_compacted_parts_give_the_same_release(tmp_path: Path) -> None:
    release = Release(tmp_path, some("a", "b"), neighbours=5)
    release.put(*some("c"))
    release.delete("a", "c")
    release.put(release_row("c", embedding=at(10)))
    release.rows.compact(release.rows.parts()[-1])
    assert [row.video_id for row in release.refresh().page("", 9)] == ["b", "c"]
    assert release.live.vector(release.live.place("c")).tolist() == at(10).tolist()


def test_vectors_and_parts_come_from_the_snapshot_or_the_overlay(tmp_path: Path) -> None:
    release = Release(tmp_path, [release_row("a", sound=False), *some("b")], neighbours=5)
    release.put(release_row("b", "2", sound=False), *some("c"))
    live = release.refresh()
    places = [live.place(video_id) for video_id in "abc"]
    assert live.vectors(places).tolist() == [release.vector(video_id).tolist() for video_id in "abc"]
    assert [live.vector(place).tolist() for place in places] == live.vectors(places).tolist()
    for modality in Modality:
        values, present = live.modality_vectors(places, modality)
        for place, value, there in zip(places, values, present, strict=True):
            assert (modality in live.parts(place)) == there
            assert value.tolist() == live.parts(place).get(modality, np.zeros(8)).tolist()
    has_audio = [Modality.AUDIO in live.parts(place) for place in places]
    assert has_audio == [False, False, True]


def test_the_mean_of_a_category_reflects_later_changes(tmp_path: Path) -> None:
    there = {"a": ("sea", 0), "b": ("sea", 20), "c": ("sky", 90), "d": ("sea", 40)}
    release = Release(tmp_path, [release_row(i, category=c, embedding=at(d)) for i, (c, d) in there.items()], 5)
    release.delete("d")
    release.put(release_row("c", category="sea", embedding=at(10)), release_row("e", category="sky", embedding=at(70)))
    live = release.refresh()
    sea, sky = live.category_mean("sea"), live.category_mean("sky")
    assert sea is not None and sea.round(5).tolist() == at(10).round(5).tolist()
    assert sky is not None and sky.round(5).tolist() == at(70).round(5).tolist()
    assert live.category_mean("city") is None


def test_a_release_without_videos_returns_no_results(tmp_path: Path) -> None:
    release = Release(tmp_path, some("a", "b"), neighbours=5)
    release.delete("a", "b")
    live = release.refresh()
    assert len(live) == 0
    assert "a" not in live
    assert live.page("", 5) == []
    for options in (Options(), Options(diversity=0.5, explain=True), Options(cross_category=True, serendipity=0.5)):
        assert by_vector(pinned(live), at(0), options).results == []


def test_a_content_is_known_as_long_as_a_video_has_it(tmp_path: Path) -> None:
    release = Release(tmp_path, [release_row(i, content_hash="one") for i in "ab"], neighbours=5)
    release.put(release_row("c", content_hash="two"), release_row("a", content_hash="two"))
    assert release.refresh().contents({"one", "two", "three"}) == {"one", "two"}
    release.delete("b")
    assert release.refresh().contents({"one", "two"}) == {"two"}
    release.delete("a", "c")
    assert not release.refresh().contents({"one", "two"})

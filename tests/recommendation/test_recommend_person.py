"""Known people: their events decide what they get, and what they never get again."""

from pathlib import Path

import pytest

from live_case import Release, at, explanation, pinned
from rayreel.client.messages import RecommendRequest, User
from rayreel.evaluation.weights import LIKED
from rayreel.events.done import Done
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.person import PersonState, state_of
from rayreel.recommendation.popular import Popularity
from rayreel.recommendation.query import BadQuery, Options
from rayreel.recommendation.recommend import by_person, recommend
from rayreel.recommendation.results import RankedResults
from release_rows import release_row

NOW = 1_790_000_000.0
DAY = 86_400.0
CONFIG = RecommendConfig()
ANN = User(user_id="ann")


@pytest.fixture(scope="module")
def release(tmp_path_factory: pytest.TempPathFactory) -> Release:
    """Ten videos at 0 to 90 degrees of a plane; d0 is the newest."""
    rows = (
        release_row(f"d{n}", embedding=at(10.0 * n), category="low" if n < 5 else "high", created_at=NOW - n * 30 * DAY)
        for n in range(10)
    )
    return Release(tmp_path_factory.mktemp("people"), rows, neighbours=4)


def state(release: Release, *done: Done) -> PersonState:
    return state_of(release.live, sorted(done, key=lambda event: -event.at), NOW, CONFIG)


def asked(
    release: Release,
    *done: Done,
    user: User = ANN,
    shares: dict[str, float] | None = None,
    top_k: int = 20,
    explain: bool = False,
) -> RankedResults:
    popularity = Popularity(shares or {}, NOW, CONFIG)
    options = Options(top_k=top_k, explain=explain)
    return by_person(pinned(release.live), state(release, *done), user, options, popularity)


def ids(found: RankedResults) -> list[str]:
    return [video.video_id for video in found]


def event(video_id: str, kind: str = "view", value: float | None = None, age: float = 10.0) -> Done:
    return Done(video_id, kind, value, NOW - age)


def test_videos_near_the_watched_one_come_first_and_it_never_returns(release: Release) -> None:
    assert ids(asked(release, event("d3")))[:2] in (["d2", "d4"], ["d4", "d2"])
    assert "d3" not in ids(asked(release, event("d3")))


def test_after_a_like_is_taken_back_only_the_view_counts(release: Release) -> None:
    liked, back = event("d3", "like", age=20), event("d3", "unlike")
    assert state(release, liked, back) == PersonState()
    seen = state(release, event("d3", age=30), liked, back)
    assert [video.weight for video in seen.history] == [1.0] and seen.watched == {"d3"}
    assert "d3" in ids(asked(release, event("d3", "dislike", age=20), back))
    assert [video.weight for video in state(release, back, event("d3", "like", age=1)).history] == [LIKED]


def test_disliked_and_hidden_videos_do_not_return_even_with_rewatch(release: Release) -> None:
    done = event("d3"), event("d4", "dislike"), event("d5", "hide")
    again = ids(asked(release, *done, user=User(user_id="ann", rewatch=True)))
    assert "d3" in again and not {"d4", "d5"} & set(again)
    assert not {"d3", "d4", "d5"} & set(ids(asked(release, *done)))


def test_the_last_opinion_of_a_video_is_the_valid_one(release: Release) -> None:
    changed = state(release, event("d1", "dislike", age=50), event("d1", "like", age=5))
    assert changed.refused == frozenset() and [video.video_id for video in changed.history] == ["d1"]
    changed = state(release, event("d1", "like", age=50), event("d1", "dislike", age=5))
    assert changed.refused == {"d1"} and not changed.history


def test_skipped_videos_return_after_a_while(release: Release) -> None:
    assert state(release, event("d1", "skip", age=10)).skipped == {"d1"}
    assert state(release, event("d1", "skip", age=2 * DAY)).skipped == frozenset()


def test_a_like_weighs_more_than_a_view_and_a_short_view_less(release: Release) -> None:
    found = state(
        release,
        event("d0", "like"),
        event("d1"),
        event("d2", "dwell", 0.5),  # of 2.5 seconds
        event("d3", "rating", 5.0),
        event("d4", "rating", 1.0),
    )
    weights = {video.video_id: video.weight for video in found.history}
    assert weights == {"d0": 3.0, "d1": 1.0, "d2": pytest.approx(0.2), "d3": 3.0}
    assert found.watched == {"d0", "d1", "d2", "d3", "d4"}


def test_an_explanation_names_the_watched_video(release: Release) -> None:
    first = explanation(asked(release, event("d3"), event("d9", age=20), explain=True, top_k=6)[0])
    assert first.because is not None and first.because.video_id in {"d3", "d9"}
    assert first.because.cosine == pytest.approx(0.985, abs=1e-3)


def test_what_the_request_says_is_added_to_the_events(release: Release) -> None:
    user = User(user_id="ann", history=["d9"])
    assert not {"d0", "d9"} & set(ids(asked(release, event("d0"), user=user)))
    assert {
        video.category for video in asked(release, user=User(user_id="ann", liked_categories=["high"]), top_k=3)
    } == {"high"}


def test_people_of_whom_nothing_is_known_get_popular_and_new_videos(release: Release) -> None:
    found = asked(release, shares={"d7": 1.0, "d8": 0.9}, explain=True, top_k=3)
    assert ids(found) == ["d7", "d8", "d0"]
    assert explanation(found[0])[:2] == ("popular", {})
    assert ids(asked(release, event("d7", "dislike"), shares={"d7": 1.0}, top_k=1)) == ["d0"]


def test_the_first_page_of_a_service_without_events_and_dates_has_every_category(tmp_path: Path) -> None:
    rows = (release_row(f"{name}_{n:02}", category=name) for name in ("chess", "opera", "train") for n in range(20))
    release = Release(tmp_path, rows, neighbours=4)
    first = asked(release, top_k=12)
    assert {video.category for video in first} == {"chess", "opera", "train"}
    assert ids(asked(release, top_k=12)) == ids(first)


def test_articles_are_interests_of_people_without_a_history(release: Release) -> None:
    live, nobody = pinned(release.live, text_neighbours=0), Popularity({}, NOW, CONFIG)
    read = [at(88.0), at(2.0)]
    known = by_person(live, PersonState(), ANN, Options(top_k=4), nobody, articles=read)
    assert set(ids(known)) == {"d9", "d8", "d0", "d1"}
    asked_once = recommend(live, RecommendRequest(user=User(articles=["a", "b"]), top_k=4), None, read)
    assert ids(asked_once) == ids(known)
    refused = state(release, event("d9", "dislike"))
    assert "d9" not in ids(by_person(live, refused, ANN, Options(top_k=4), nobody, articles=read))


def test_a_known_person_has_no_words_for_a_hybrid_search(release: Release) -> None:
    with pytest.raises(BadQuery, match="words"):
        by_person(pinned(release.live), PersonState(), ANN, Options(hybrid=True), Popularity({}, NOW, CONFIG))

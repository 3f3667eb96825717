"""Phrases, beginnings of words and typing errors in hybrid searches, before and after the next snapshot."""

from pathlib import Path

import pytest

from live_case import Release, at, pinned
from rayreel.client.messages import RecommendRequest
from rayreel.recommendation.config import RecommendConfig
from rayreel.recommendation.live import Live
from rayreel.recommendation.recommend import recommend
from rayreel.recommendation.wording import as_searched, corrections, encoded_text
from release_rows import release_row

TITLES = ["New York", "York, a new town", "chess", "playing chessboards", "chest", "the lord of the rings", "", ""]


@pytest.fixture(params=["snapshot", "overlay"])
def live(request: pytest.FixtureRequest, tmp_path: Path) -> Live:
    """Videos at angles of 0 to 70 degrees; those with words in the snapshot, or added since."""
    rows = [release_row(f"v{n}", embedding=at(10 * n), title=title, tags=[]) for n, title in enumerate(TITLES)]
    said = [{"start_s": 0.0, "end_s": 1.0, "text": "a new"}, {"start_s": 1.0, "end_s": 2.0, "text": "york laying"}]
    rows[6] |= {"tags": ["new", "york"], "description": "opposite of old york"}
    rows[7] |= {"segments": said}
    if request.param == "snapshot":
        return Release(tmp_path, rows, neighbours=3).live
    release = Release(tmp_path, [row | {"title": "", "tags": [], "segments": None} for row in rows], neighbours=3)
    release.put(*rows)
    return release.refresh()


def found(live: Live, text: str, degrees: float = 0, **options: object) -> list[str]:
    request = RecommendRequest.model_validate({"text": text, "hybrid": True, "top_k": 8, **options})
    results = recommend(pinned(live, text_neighbours=0), request, at(degrees))
    return [video.video_id for video in results]


def test_only_videos_in_which_the_words_of_a_phrase_follow_each_other_are_found(live: Live) -> None:
    assert found(live, '"new york"') == ["v0", "v7"]  # not in two tags, not with a word between
    assert found(live, '"lord of the rings"') == ["v5"]
    assert found(live, 'where is "york"', degrees=70) == ["v7", "v6", "v1", "v0"]
    assert found(live, '"town york"') == found(live, '"zebra"') == found(live, '"new york" "chess"') == []
    assert found(live, '"new york"', exclude=["v0"]) == ["v7"]
    assert len(found(live, "new york")) == 8


def test_the_beginning_of_a_word_finds_all_words_that_begin_with_it(live: Live) -> None:
    assert set(found(live, "chess*", degrees=70)[:2]) == {"v2", "v3"}
    assert found(live, "play* york")[0] == "v3"
    assert found(live, "zebra*") == found(live, "zebra") == [f"v{n}" for n in range(8)]


@pytest.mark.parametrize(
    ("text", "searched"),
    [
        ("playng CHESSBOARSD", "playing chessboards"),
        ("plaing chess", "playing chess"),
        ("yrok", None),  # short words have too many neighbours
        ("laying", None),  # near playing, but said
        ('"plaing" plaing*', None),  # as it is written
        ("played", None),  # another ending of a word that is there
        ("submarine p1aying", None),
    ],
)
def test_a_word_that_no_video_has_is_replaced_by_the_nearest_of_the_titles(
    live: Live, text: str, searched: str | None
) -> None:
    asked = RecommendRequest(text=text, hybrid=True)
    request, instead = as_searched(asked, corrections(live, asked, RecommendConfig()))
    assert instead == searched and request.text == (searched or text)
    assert corrections(live, asked, RecommendConfig(correct_words=False)) == {}
    assert corrections(live, RecommendRequest(text=text), RecommendConfig()) == {}


def test_encoders_read_the_text_without_syntax_only_if_it_has_one() -> None:
    assert encoded_text(RecommendRequest(text='"new york"', hybrid=True)) == "new york"
    assert encoded_text(RecommendRequest(text='"new york"')) == '"new york"'

"""Words by their beginning, and words near one with a typing error."""

import pytest

from rayreel.index.vocabulary import Near, Vocabulary


@pytest.fixture
def chess() -> Vocabulary:
    titles = ["Chess openings", "chess", "the cheese", "waves and wolves", "日本語"]
    return Vocabulary.of(titles, ["Chessboards are said here", "chest"], "english")


def test_a_beginning_stands_for_words_of_every_field_with_their_endings(chess: Vocabulary) -> None:
    assert chess.starting("chess", 10) == ["chess", "chessboards"]
    assert chess.starting("che", 10) == ["cheese", "chess", "chessboards", "chest"]
    assert chess.starting("zebra", 10) == []
    assert chess.starting("che", 1) == ["chess"]  # the most frequent


@pytest.mark.parametrize(
    ("word", "most", "expected"),
    [
        ("ches", 1, Near(1, -2, "chess")),  # not chest, which no title has
        ("openigns", 1, Near(1, -1, "openings")),
        ("wavse", 2, Near(1, -1, "waves")),
        ("chxyse", 1, None),
        ("chxyse", 2, Near(2, -1, "cheese")),
        ("cheess", 2, Near(1, -2, "chess")),  # of more titles than cheese, which is as near
        ("submarine", 2, None),
    ],
)
def test_the_nearest_word_of_the_titles_is_found_within_the_edits(
    chess: Vocabulary, word: str, most: int, expected: Near | None
) -> None:
    assert chess.nearest(word, most) == expected


def test_an_empty_vocabulary_has_nothing_near() -> None:
    nothing = Vocabulary.of([], ["said"], "english")
    assert nothing.nearest("saidd", 2) is None
    assert Vocabulary.of([], [], "english").starting("a", 5) == []

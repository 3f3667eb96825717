"""The words of texts, and how well texts match them."""

import numpy as np
import pytest

from rayreel.index.config import Language
from rayreel.index.postings import Postings, matches
from rayreel.index.words import words


@pytest.mark.parametrize(
    ("text", "language", "expected"),
    [
        ("How to be a playing player, and to play it", "english", ["play", "player", "play"]),
        ("The ÉCOLE_42's", "english", ["école", "42"]),
        ("Die Hunde und die Häuser", "german", ["hund", "haus"]),
        ("Die Hunde", "none", ["die", "hunde"]),
        ("собаки и собака", "russian", ["собак", "собак"]),
        ("スケートボード", "english", ["スケ", "ケー", "ート", "トボ", "ボー", "ード"]),
        ("猫 and 2 cats", "english", ["猫", "2", "cat"]),
        ("ﬁne ①②", "english", ["fine", "12"]),  # other forms of the same characters
        ("🎬 …!", "english", []),
    ],
)
def test_words_are_compared_without_case_endings_and_stop_words(
    text: str, language: Language, expected: list[str]
) -> None:
    assert words(text, language) == expected


def postings(*texts: str) -> Postings:
    return Postings.of([dict.fromkeys(words(text), 1.0) for text in texts])


def test_a_text_with_all_words_matches_fully_and_one_with_a_few_hardly() -> None:
    found = postings("red fox jumps", "red car", "blue car", "")
    match_N = matches([found], words("the red foxes jump"))[0]
    assert match_N[0] == pytest.approx(1)
    assert 0 < match_N[1] < 0.1
    assert match_N[2] == match_N[3] == 0


def test_a_rare_word_matches_more_than_a_frequent_one() -> None:
    found = postings("car fox", *["car"] * 5, "tree")
    rare, frequent = matches([found], ["fox", "tree", "car"])[0][[0, 1]]
    assert rare > frequent > 0


def test_a_word_that_no_text_has_lowers_the_match_of_the_others() -> None:
    found = postings("fox", "car")
    assert matches([found], ["fox", "zebra"])[0][0] < matches([found], ["fox"])[0][0] == 1


def test_words_said_in_a_video_count_less_than_those_of_its_title_until_they_are_repeated() -> None:
    found = Postings.of([{"fox": 1.0}, {"fox": 0.5}, {"fox": 5.0}])
    title, said, repeated = matches([found], ["fox"])[0]
    assert title == repeated == 1 > said > 0


def test_texts_in_several_parts_match_as_in_one() -> None:
    texts = ["red fox", "car", "fox", "blue car fox", "tree"]
    together = matches([postings(*texts)], ["fox", "car"])[0]
    apart = matches([postings(*texts[:2]), postings(*texts[2:])], ["fox", "car"])
    np.testing.assert_allclose(np.concatenate(apart), together)


@pytest.mark.parametrize("query", [[], ["unknown"]])
def test_a_query_without_known_words_matches_nothing(query: list[str]) -> None:
    assert not matches([postings("red fox"), postings()], query)[0].any()

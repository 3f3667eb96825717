"""The syntax of queries: phrases in quotes and beginnings of words."""

import pytest

from rayreel.index.syntax import WordQuery, parse_query, plain_query, with_words, without_syntax

OLD = ("old", "town", "street")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("New York", WordQuery("New York", ("new", "york"))),
        ('"new york" at night', WordQuery("new york at night", ("new", "york", "night"), (), (("new", "york"),))),
        ("“Old  Town” „a street“", WordQuery("Old  Town a street", OLD, (), (OLD[:2], OLD[2:]))),
        ("CHESS* open", WordQuery("CHESS open", ("open",), ("chess",))),
        ('a 27" and a 32" screen', WordQuery('a 27" and a 32" screen', ("27", "32", "screen"))),
        ('an "open quote', WordQuery('an "open quote', ("open", "quot"))),
        ('"" * "the"', WordQuery("* the")),
        ("5 * 3", WordQuery("5 * 3", ("5", "3"))),
        ("\"running*\"", WordQuery("running*", ("run",), (), (("run",),))),
    ],
)  # fmt: skip
def test_quotes_make_phrases_and_asterisks_beginnings(text: str, expected: WordQuery) -> None:
    assert parse_query(text, "english") == expected


def test_a_title_with_quotes_is_no_query() -> None:
    assert plain_query('He said "hello world"', "english").phrases == ()
    assert plain_query('He said "hello world"', "english").words == ("said", "hello", "world")


def test_encoders_read_no_syntax_but_never_nothing() -> None:
    assert without_syntax('chess* "in the park"') == "chess in the park"
    assert without_syntax('""') == '""'


def test_only_words_outside_of_quotes_and_beginnings_are_replaced() -> None:
    assert with_words('one "two three" four* five, six!', str.upper) == 'ONE "two three" four* FIVE, SIX!'

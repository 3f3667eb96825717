import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.tags import read_tags, write_tags
from steady import steady

WORDS = st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=12)
TAGS = st.lists(WORDS.map(str.strip).filter(bool), max_size=5).map(tuple)


@pytest.mark.parametrize(
    "written",
    [
        "red|blue",
        " red | blue |",
        "red, blue",
        "red;blue",
        "red\nblue",
        "red\uff0cblue",
        "red\u3001blue",
        "#red #blue",
        "#red#blue",
        "#red, #blue",
        '"red", "blue"',
        "'red', 'blue'",
        "['red', 'blue']",
        '["red", "blue"]',
        "[red, blue]",
        "('red', 'blue')",
        "{'red', 'blue'}",
        "{red,blue}",
        '{red,"blue"}',
        "['red' 'blue']",
        "['red'\n 'blue']",
        "['red', None, nan, 'blue']",
        '["red", null, "blue"]',
        ["red", "blue"],
        ["red", None, float("nan"), "", " blue "],
        b"red|blue",
        [b"red", b"blue"],
    ],
)
def test_tags_are_read_from_every_supported_format(written: object) -> None:
    assert read_tags(written) == ("red", "blue")


@pytest.mark.parametrize(
    "written", [None, float("nan"), "", " ", "nan", "NaN", "None", "null", "[]", "()", "{}", "|", []]
)
def test_every_notation_of_no_tags_reads_as_an_empty_tuple(written: object) -> None:
    assert read_tags(written) == ()


@pytest.mark.parametrize(
    ("written", "tags"),
    [
        ("Paris, France|Rome", ("Paris, France", "Rome")),
        ("Paris, France; Rome", ("Paris, France", "Rome")),
        ('["Paris, France", "a|b"]', ("Paris, France", "a|b")),
        ('"Paris, France", Rome', ("Paris, France", "Rome")),
        ("C#", ("C#",)),
        ("C#, F#", ("C#", "F#")),
        ("#1 hit", ("#1 hit",)),
        ("rock & roll", ("rock & roll",)),
        ("AC/DC", ("AC/DC",)),
        ('5" screen, tv', ('5" screen', "tv")),
        ("it's", ("it's",)),
        ("[Live] at [Home]", ("[Live] at [Home]",)),
        ("(500) Days (2009)", ("(500) Days (2009)",)),
        ("1984", ("1984",)),
        (1984, ("1984",)),
        ([2024.0, 7], ("2024", "7")),
    ],
)
def test_separators_and_quotes_within_a_tag_are_kept(written: object, tags: tuple[str, ...]) -> None:
    assert read_tags(written) == tags


@pytest.mark.parametrize(
    "written",
    [{"a": 1}, '{"a": 1}', "{'a': 1}", "['it''s', 'b']", "['it's', 'b']", "['a' ... 'z']", [["a"]], [{"a": 1}], True],
)
def test_text_that_looks_like_a_list_but_is_not_one_is_rejected(written: object) -> None:
    with pytest.raises(ValueError, match="not a "):
        read_tags(written)


@steady
@given(TAGS)
def test_written_tags_read_back_as_the_same(tags: tuple[str, ...]) -> None:
    assert read_tags(write_tags(tags)) == tags


@steady
@given(TAGS)
def test_the_text_of_a_list_or_numpy_array_reads_back_as_its_words(tags: tuple[str, ...]) -> None:
    assert read_tags(str(list(tags))) == tags
    assert read_tags(str(np.array(tags, dtype=object))) == tags


@steady
@given(st.text())
def test_any_text_gives_trimmed_tags_or_is_rejected(text: str) -> None:
    try:
        tags = read_tags(text)
    except ValueError:
        return
    assert all(tag and tag == tag.strip() for tag in tags)

"""Titles from file names, without those that name the category, which is the label."""

import re

# Runs of letters, split where lower case turns to upper case, as in ApplyEyeMakeup.
_WORD = re.compile(r"[^\W\d_]+")
_CAMEL = re.compile(r"(?<=[a-z])(?=[A-Z])")
# Words of category names that say nothing, as in arts_and_crafts.
_FUNCTION_WORDS = frozenset({"a", "an", "and", "at", "by", "for", "in", "of", "on", "or", "the", "to", "with"})
# A shorter name is found in unrelated words, such as art in start. Scripts without spaces have short names.
_MIN_INSIDE = 4


def title_of_file(stem: str, category: str) -> str:
    """Return a file's name as a title, with spaces for `_` and `-`; "" if it names the category.

    >>> title_of_file("red_fox-at_dawn", "animals")
    'red fox at dawn'
    >>> title_of_file("chess_001", "chess")
    ''
    """
    return "" if names(stem, category) else stem.replace("_", " ").replace("-", " ")


def names(text: str, category: str, *, whole: bool = False) -> bool:
    """Whether a text contains a word of the category's name or, if `whole`, all of them; in any case, also in plural.

    >>> names("Two dogs and a ball", "Dog"), names("MyTalkingHead2", "talking_head"), names("start", "art")
    (True, True, False)
    >>> names("A head turns", "talking_head"), names("A head turns", "talking_head", whole=True)
    (True, False)
    """
    wanted = words_of(category)
    inside = "".join(wanted)
    long_enough = len(inside) >= _MIN_INSIDE or (inside != "" and not inside.isascii())
    if long_enough and inside in "".join(words_of(text)):
        return True
    telling = {_singular(word) for word in wanted if word not in _FUNCTION_WORDS}
    found = telling & {_singular(word) for word in words_of(text)}
    return bool(found) and (not whole or found == telling)


def words_of(text: str) -> list[str]:
    """Return the words of letters of a text in lower case, without digits and separators.

    >>> words_of("v_ApplyEyeMakeup_g01-c02")
    ['v', 'apply', 'eye', 'makeup', 'g', 'c']
    """
    return [word.casefold() for word in _WORD.findall(_CAMEL.sub(" ", text))]


def _singular(word: str) -> str:
    """Return a word without a plural ending of English; endings of other words are cut alike, in both texts."""
    if word.endswith("ies") and len(word) > 4:
        return f"{word[:-3]}y"
    if word.endswith(("ches", "shes", "sses", "xes", "zes")):
        return word[:-2]
    return word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word

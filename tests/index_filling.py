"""Constants and types for the collections of the index tests."""

from collections.abc import Callable, Iterable

from rayreel.index.write import IndexRow

DIM = 32
FIRST = 900_000
Fill = Callable[[int, Iterable[IndexRow]], str]
# Ids that need escaping in filters.
NASTY = [
    'quo"te',
    "apo'strophe",
    "back\\slash",
    "\\",
    'end\\"',
    "new\nline",
    "tab\tcr\r",
    "日本語 😀",
    '"] or true',
    "%_ {x}",
]

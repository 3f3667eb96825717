"""Which collections the tests of the index make, and how."""

from collections.abc import Callable, Iterable

from rayreel.index.write import IndexRow

DIM = 32
FIRST = 900_000
Fill = Callable[[int, Iterable[IndexRow]], str]
# Ids that a filter's text must not break at.
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

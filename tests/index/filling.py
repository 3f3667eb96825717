"""Which collections the tests of the index make, and how."""

from collections.abc import Callable, Iterable

from rayreel.index.write import IndexRow

FIRST = 900_000
Fill = Callable[[int, Iterable[IndexRow]], str]

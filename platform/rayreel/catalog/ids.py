"""Ids that a data frame turned into floats: 101 becomes 101.0 where the column has a gap, and then joins nothing."""

import math
import re
from decimal import Decimal
from typing import Any

from rayreel.catalog.blank import is_blank_word

# From here on a float skips whole numbers: two ids become one.
EXACT_BELOW = 2**53
LOST_DIGITS = "a float too large to keep every digit of an id; write ids as text or whole numbers"
FLOAT = r"-?(0|[1-9][0-9]*)\.0"
_AS_FLOAT = re.compile(FLOAT)


def id_value(value: Any) -> Any:  # noqa: ANN401
    """Make a whole float or Decimal an int and NaN None; else keep it. Raises ValueError where it has lost digits."""
    if not isinstance(value, (float, Decimal)):
        return value
    if not math.isfinite(value):
        return None
    if isinstance(value, float) and abs(value) >= EXACT_BELOW:
        raise ValueError(LOST_DIGITS)
    return int(value) if value == int(value) else value


class TextIds:
    """Decides whether the ids of a file, read as text, are floats: all of them end in .0.

    One id alone cannot tell: 1.0 may be a version beside 1.1.
    """

    def __init__(self) -> None:
        self.mixed = False
        """Whether an id was seen that is no such float."""

    def see(self, value: object) -> None:
        """Take another id into account; a blank one says nothing, nor does a typed float."""
        if isinstance(value, str):
            self.mixed |= not (is_blank_word(value) or self.is_float(value))
        else:
            self.mixed |= not (value is None or isinstance(value, float))

    @staticmethod
    def is_float(value: object) -> bool:
        """Whether a value is the text of a whole float."""
        return isinstance(value, str) and bool(_AS_FLOAT.fullmatch(value))

    @staticmethod
    def plain(value: Any) -> Any:  # noqa: ANN401
        """Cut the .0 off."""
        return value[:-2] if TextIds.is_float(value) else value

"""Undo the float conversion of ids: pandas turns 101 into 101.0 in a column with missing values, which breaks joins."""

import math
import re
from decimal import Decimal
from typing import Any

from rayreel.catalog.blank import is_blank_word

# From 2**53 on, a float64 cannot represent every integer, so two ids could become one.
EXACT_BELOW = 2**53
LOST_DIGITS = "a float too large to represent every digit of an id; write ids as text or integers"
FLOAT = r"-?(0|[1-9][0-9]*)\.0"
_AS_FLOAT = re.compile(FLOAT)


def id_value(value: Any) -> Any:  # noqa: ANN401
    """Convert a whole float or Decimal to int and NaN or infinity to None; return anything else unchanged.

    Raises ValueError if a float is too large to represent every digit.
    """
    if not isinstance(value, (float, Decimal)):
        return value
    if not math.isfinite(value):
        return None
    if isinstance(value, float) and abs(value) >= EXACT_BELOW:
        raise ValueError(LOST_DIGITS)
    return int(value) if value == int(value) else value


class TextIds:
    """Determines whether ids read as text are floats, which is the case if all of them end in .0.

    This takes the whole file: next to 1.1, the id 1.0 may be a version number.
    """

    def __init__(self) -> None:
        self.mixed = False
        """Whether any id so far was not a whole float."""

    def add(self, value: object) -> None:
        """Take another id into account; blank ids and values of type float have no effect."""
        if isinstance(value, str):
            self.mixed |= not (is_blank_word(value) or self.is_float(value))
        else:
            self.mixed |= not (value is None or isinstance(value, float))

    @staticmethod
    def is_float(value: object) -> bool:
        """Return whether a value is the text of a whole float."""
        return isinstance(value, str) and bool(_AS_FLOAT.fullmatch(value))

    @staticmethod
    def plain(value: Any) -> Any:  # noqa: ANN401
        """Remove a trailing .0 from the text of a whole float."""
        return value[:-2] if TextIds.is_float(value) else value

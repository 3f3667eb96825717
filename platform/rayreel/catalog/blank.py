"""What stands for nothing in a catalog's cells."""

from datetime import datetime
from decimal import Decimal
from typing import Any

# As pandas, NumPy, SQL dumps, R, spreadsheets and JavaScript write it.
WORDS = frozenset(
    {"", "nan", "nat", "none", "null", "nil", "undefined", "na", "<na>", "n/a", "#n/a", "#na", "-", "\\n", "(null)"}
)


def is_blank(value: Any) -> bool:  # noqa: ANN401
    """Whether a cell is missing: None, NaN, NaT or an empty text."""
    if isinstance(value, str):
        return not value
    if isinstance(value, (float, Decimal, datetime)):
        return bool(value != value)  # noqa: PLR0124 - NaT is a datetime, and like NaN no equal of itself
    return value is None


def is_blank_word(text: str) -> bool:
    """Whether a text is a word for nothing, in a column where that word cannot be meant: a date, a list of tags."""
    return text.strip().lower() in WORDS

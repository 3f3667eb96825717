"""How missing values are written in catalogs."""

from datetime import datetime
from decimal import Decimal
from typing import Any

# From pandas, NumPy, SQL dumps, R, spreadsheets and JavaScript.
WORDS = frozenset(
    {"", "nan", "nat", "none", "null", "nil", "undefined", "na", "<na>", "n/a", "#n/a", "#na", "-", "\\n", "(null)"}
)


def is_blank(value: Any) -> bool:  # noqa: ANN401
    """Return whether a cell is missing: None, NaN, NaT or an empty string."""
    if isinstance(value, str):
        return not value
    if isinstance(value, (float, Decimal, datetime)):
        return bool(value != value)  # noqa: PLR0124 - NaT is a datetime and, like NaN, not equal to itself
    return value is None


def is_blank_word(text: str) -> bool:
    """Return whether a text means "no value", for columns where it cannot be a value itself: dates and tags."""
    return text.strip().lower() in WORDS

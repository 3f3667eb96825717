"""Dates in catalogs and interactions: ISO text or seconds, milliseconds, microseconds or nanoseconds since 1970."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from rayreel.catalog.blank import is_blank, is_blank_word

EXPECTED = "a date such as 2024-01-31 or 2024-01-31T12:00:00Z"

# The largest number read as seconds is the year 2603; pydantic draws the same line. Each unit is 1000 times finer.
SECONDS_TO = 20_000_000_000
UNITS = {"seconds": 1, "milliseconds": 1000, "microseconds": 1000**2, "nanoseconds": 1000**3}
# Smaller numbers are years, days of a spreadsheet or counters far more often than the months around 1970.
SECONDS_FROM = 100_000_000

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(E[+-]?\d+)?")
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?P<time>([T ] *\d\d(:?\d\d)?.*)?)"
)
# Without marks, by week and by day of the year; `datetime.fromisoformat` would also take 2024-W05 for its Monday.
_BASIC = re.compile(r"\d{8}T\d\d.*|\d{4}-?W\d\d-?\d(T\d\d.*)?")
_ZONE = re.compile(r" *(UTC|GMT|Z)$")
_SPACED_ZONE = re.compile(r" +(?=[+-]\d\d(:?\d\d)?$)")
# MySQL's empty date, and the zero times of Go and .NET.
_ZERO = re.compile(r"(0000-00-00|0001-01-01)([T ]00:00(:00(\.0*)?)?)?(Z|[+-]00:?00)?")
# Digits of a date without marks; of ten and twelve digits, seconds and milliseconds have as many.
COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_AMBIGUOUS = {10, 12}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_moment(value: Any) -> datetime | None:  # noqa: ANN401
    """Read a catalog's date as UTC; None where the cell stands for no date.

    Takes ISO 8601 (UTC unless it names an offset), YYYYMMDD, YYYYMMDDHHMMSS and a number since 1970, whose unit follows
    from its size; 0 stands for no date. Raises ValueError for what is none of these, or may be one of two, such as
    01/02/2024.
    """
    if is_blank(value) or (isinstance(value, str) and is_blank_word(value)):
        return None
    if isinstance(value, date):
        return _utc(value if isinstance(value, datetime) else datetime.combine(value, time()))
    if isinstance(value, bool) or not isinstance(value, (str, int, float, Decimal)):
        raise ValueError(f"{type(value).__name__} is not a date")
    text = str(value).strip().upper()
    if _ZERO.fullmatch(text):
        return None
    return _from_number(Decimal(text)) if _NUMBER.fullmatch(text) else _from_iso(text)


def _from_iso(text: str) -> datetime:
    text = _SPACED_ZONE.sub("", _ZONE.sub("Z", text))
    if found := _ISO.fullmatch(text):
        text = f"{found['year']}-{found['month']:>02}-{found['day']:>02}{found['time']}"
    elif not _BASIC.fullmatch(text):
        raise ValueError("not an ISO date")
    return _utc(datetime.fromisoformat(text))


def _from_number(number: Decimal) -> datetime | None:
    if not number:
        return None
    per_second = UNITS[unit_of(number)]
    if number == number.to_integral_value() and (compact := _from_digits(str(int(number)))):
        return compact
    if abs(number) < SECONDS_FROM:
        raise ValueError("too small for a time since 1970")
    return _EPOCH + timedelta(microseconds=int(number * 1_000_000 / per_second))


def _from_digits(digits: str) -> datetime | None:
    if digits[:2] not in {"19", "20"} or len(digits) not in COMPACT:
        return None
    try:
        found = datetime.strptime(digits, COMPACT[len(digits)]).replace(tzinfo=UTC)
    except ValueError:
        return None
    if len(digits) in _AMBIGUOUS:
        raise ValueError("a date without marks, or a time since 1970")
    return found


def unit_of(number: Decimal) -> str:
    """The unit of a number since 1970, by its size. Raises ValueError where it is too large for any."""
    for name, per_second in UNITS.items():
        if abs(number) <= SECONDS_TO * per_second:
            return name
    raise ValueError("too large for a time since 1970")


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:  # the first and the last day of the calendar, in another zone
        raise ValueError(str(error)) from error

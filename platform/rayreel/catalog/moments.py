"""Read dates in catalogs and interactions: ISO text, or seconds, milli-, micro- or nanoseconds since 1970."""

import re
from datetime import UTC, date, datetime, time, timedelta
from decimal import Decimal
from typing import Any

from rayreel.catalog.blank import is_blank, is_blank_word

EXPECTED = "a date such as 2024-01-31 or 2024-01-31T12:00:00Z"

# The largest number read as seconds is in the year 2603, as in pydantic. Each unit is 1000 times finer.
SECONDS_TO = 20_000_000_000
UNITS = {"seconds": 1, "milliseconds": 1000, "microseconds": 1000**2, "nanoseconds": 1000**3}
# Smaller numbers are years, spreadsheet days or counters far more often than dates around 1970.
SECONDS_FROM = 100_000_000

_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(E[+-]?\d+)?")
_ISO = re.compile(
    r"(?P<year>\d{4})(?P<mark>[-/.])(?P<month>\d{1,2})(?P=mark)(?P<day>\d{1,2})(?P<time>([T ] *\d\d(:?\d\d)?.*)?)"
)
# Without separators, and by week; `datetime.fromisoformat` would also read 2024-W05 as the Monday of that week.
_BASIC = re.compile(r"\d{8}T\d\d.*|\d{4}-?W\d\d-?\d(T\d\d.*)?")
_ZONE = re.compile(r" *(UTC|GMT|Z)$")
_SPACED_ZONE = re.compile(r" +(?=[+-]\d\d(:?\d\d)?$)")
# The zero dates of MySQL, Go and .NET.
_ZERO = re.compile(r"(0000-00-00|0001-01-01)([T ]00:00(:00(\.0*)?)?)?(Z|[+-]00:?00)?")
# Formats of dates without separators by number of digits. Ten and twelve digits may also be seconds or milliseconds.
COMPACT = {8: "%Y%m%d", 10: "%Y%m%d%H", 12: "%Y%m%d%H%M", 14: "%Y%m%d%H%M%S", 17: "%Y%m%d%H%M%S%f"}
_AMBIGUOUS = {10, 12}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read_moment(value: Any) -> datetime | None:  # noqa: ANN401
    """Read a catalog's date as UTC, or None if the cell has no date.

    Accepts ISO 8601 (UTC unless it has an offset), YYYYMMDD, YYYYMMDDHHMMSS and numbers since 1970, whose unit is
    inferred from their size; 0 means no date. Raises ValueError for anything else and for ambiguous dates such as
    01/02/2024.

    >>> [str(read_moment(value)) for value in ("2024-01-31T12:00:00+02:00", "20240131", 1706702400, 1706702400000)]
    ['2024-01-31 10:00:00+00:00', '2024-01-31 00:00:00+00:00', '2024-01-31 12:00:00+00:00', '2024-01-31 12:00:00+00:00']
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
        raise ValueError("ambiguous: a date without separators or a time since 1970")
    return found


def unit_of(number: Decimal) -> str:
    """Return the unit of a number since 1970 by its size. Raises ValueError if it is too large for any unit."""
    for name, per_second in UNITS.items():
        if abs(number) <= SECONDS_TO * per_second:
            return name
    raise ValueError("too large for a time since 1970")


def _utc(moment: datetime) -> datetime:
    try:
        return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    except OverflowError as error:  # the first or last day of the calendar in another time zone
        raise ValueError(str(error)) from error

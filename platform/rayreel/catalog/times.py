"""Read whole columns of times, for interactions."""

from collections.abc import Iterator
from datetime import UTC, datetime

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from rayreel.catalog.moments import COMPACT, SECONDS_TO, UNITS, read_moment

UTC_MICROSECONDS = pa.timestamp("us", tz="UTC")
_SECOND_DAY = pa.scalar(datetime(1, 1, 2, tzinfo=UTC), UTC_MICROSECONDS)
# pandas would also accept a year or a month alone.
_WHOLE_DATE = r"^\s*([0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|\s*$)|[0-9]{8}T)"


def read_times(cells: pa.Array) -> pa.Array:
    """Read a column of times as UTC microseconds; values that cannot be read become null.

    Accepts the time types of Parquet, the formats of `read_moment`, and sequence numbers such as 1, 2, 3, which are
    read as seconds. Raises ValueError if the numbers of a column have different units or are years.
    """
    if pa.types.is_timestamp(cells.type) or pa.types.is_date(cells.type):
        return pc.cast(cells, UTC_MICROSECONDS, safe=False)
    if pa.types.is_temporal(cells.type):
        raise ValueError(f"its type is {cells.type}")
    numbers = read_numbers(cells)
    return _since_1970(numbers) if numbers.null_count < len(numbers) else _from_text(cells)


def read_numbers(cells: pa.Array) -> pa.Array:
    """Read a column as float64; anything but a finite number becomes null."""
    numbers = pd.to_numeric(cells.to_pandas(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return pa.array(np.where(np.isfinite(numbers), numbers, np.nan), from_pandas=True)


def _since_1970(numbers: pa.Array) -> pa.Array:
    numbers = pc.if_else(pc.less(numbers, 0), None, numbers)  # -1 means no time
    values_N = numbers.drop_null().to_numpy(zero_copy_only=False)
    if (dates_N := _compact_dates(values_N)) is None:
        dates_N = np.round(values_N * (1e6 / _per_second(values_N))).astype(np.int64)
    filled_N = np.zeros(len(numbers), np.int64)
    missing_N = np.asarray(numbers.is_null())
    filled_N[~missing_N] = dates_N
    return pc.cast(pa.array(filled_N, mask=missing_N), UTC_MICROSECONDS)


def _per_second(values_N: NDArray[np.float64]) -> float:
    """Return how many units there are in a second. The unit follows from the size of all numbers except zero."""
    sizes = values_N[values_N != 0]
    found = np.unique(np.searchsorted([SECONDS_TO * per_second for per_second in UNITS.values()], sizes))
    if len(found) and found[-1] == len(UNITS):
        raise ValueError(f"{sizes.max():g} is too large for a time since 1970")
    if len(sizes) and np.all((sizes >= 1900) & (sizes < 2100) & (sizes % 1 == 0)):
        raise ValueError("its numbers are years")
    if len(found) > 1:
        names = [list(UNITS)[index] for index in found]
        raise ValueError(
            f"its numbers ({sizes.min():g} to {sizes.max():g}) are a mixture of {' and '.join(names)} since 1970"
        )
    return float(list(UNITS.values())[found[0]]) if len(found) else 1.0


def _compact_dates(values_N: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Return the microseconds of numbers that are all dates such as 20240131, or None if one is not."""
    digits = len(f"{values_N.max(initial=0):.0f}")
    years_N = values_N // 10.0 ** (digits - 4)
    if digits not in COMPACT or np.any((years_N < 1900) | (years_N >= 2100) | (values_N % 1 != 0)):
        return None
    texts = pd.Series(values_N.astype(np.int64).astype(str))
    moments = pd.to_datetime(texts, format=COMPACT[digits], errors="coerce")
    return None if moments.isna().any() else moments.to_numpy("datetime64[us]").astype(np.int64)


def _from_text(cells: pa.Array) -> pa.Array:
    whole = pc.match_substring_regex(cells, _WHOLE_DATE)
    texts = pc.if_else(whole, cells, None)
    parsed = pd.to_datetime(texts.to_pandas(), errors="coerce", utc=True, format="ISO8601")
    times = pc.cast(pa.array(parsed, from_pandas=True), UTC_MICROSECONDS, safe=False)
    times = pc.if_else(pc.less(times, _SECOND_DAY), None, times)  # January 1 of year 1 means no date (`read_moment`)
    unread = cells.filter(pc.and_(pc.is_null(times), pc.is_valid(cells))).unique()
    return _filled(times, cells, dict(_read_one_by_one(unread))) if len(unread) else times


def _filled(times: pa.Array, cells: pa.Array, found: dict[str, object]) -> pa.Array:
    texts = pa.array(found.keys(), pa.string())
    others = pa.array(found.values(), UTC_MICROSECONDS).take(pc.index_in(cells, texts))
    return pc.coalesce(times, others)


def _read_one_by_one(texts: pa.Array) -> Iterator[tuple[str, object]]:
    """Yield texts in formats unknown to pandas with their times. Stops at the first invalid one, an error anyway."""
    for text in texts.to_pylist():
        try:
            moment = read_moment(text)
        except ValueError:
            return
        yield text, moment

"""Whole columns of times, as interactions have them."""

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
# pandas would also take a year or a month alone.
_WHOLE_DATE = r"^\s*([0-9]{4}-[0-9]{2}-[0-9]{2}([T ]|\s*$)|[0-9]{8}T)"


def read_times(given: pa.Array) -> pa.Array:
    """Read a column of times as UTC microseconds; what cannot be read is null.

    Takes the types of Parquet, what `read_moment` takes, and numbers that only count on: 1, 2, 3. Raises ValueError
    where the numbers of one column can only be in several units, or are years.
    """
    if pa.types.is_timestamp(given.type) or pa.types.is_date(given.type):
        return pc.cast(given, UTC_MICROSECONDS, safe=False)
    if pa.types.is_temporal(given.type):
        raise ValueError(f"its type is {given.type}")
    numbers = read_numbers(given)
    return _since_1970(numbers) if numbers.null_count < len(numbers) else _from_text(given)


def read_numbers(given: pa.Array) -> pa.Array:
    """Read a column as float64; what is no finite number is null."""
    numbers = pd.to_numeric(given.to_pandas(), errors="coerce").to_numpy(np.float64, na_value=np.nan)
    return pa.array(np.where(np.isfinite(numbers), numbers, np.nan), from_pandas=True)


def _since_1970(numbers: pa.Array) -> pa.Array:
    numbers = pc.if_else(pc.less(numbers, 0), None, numbers)  # -1 stands for no time
    values_N = numbers.drop_null().to_numpy(zero_copy_only=False)
    if (dates_N := _without_marks(values_N)) is None:
        dates_N = np.round(values_N * (1e6 / _per_second(values_N))).astype(np.int64)
    filled_N = np.zeros(len(numbers), np.int64)
    missing_N = np.asarray(numbers.is_null())
    filled_N[~missing_N] = dates_N
    return pc.cast(pa.array(filled_N, mask=missing_N), UTC_MICROSECONDS)


def _per_second(values_N: NDArray[np.float64]) -> float:
    """How many of the unit a second has; the unit follows from the numbers' size. Zero is the same in all."""
    sizes = values_N[values_N != 0]
    found = np.unique(np.searchsorted([SECONDS_TO * each for each in UNITS.values()], sizes))
    if len(found) and found[-1] == len(UNITS):
        raise ValueError(f"{sizes.max():g} is too large for a time since 1970")
    if len(sizes) and np.all((sizes >= 1900) & (sizes < 2100) & (sizes % 1 == 0)):
        raise ValueError("its numbers are years")
    if len(found) > 1:
        names = [list(UNITS)[place] for place in found]
        raise ValueError(f"numbers between {sizes.min():g} and {sizes.max():g} are {' and '.join(names)} since 1970")
    return float(list(UNITS.values())[found[0]]) if len(found) else 1.0


def _without_marks(values_N: NDArray[np.float64]) -> NDArray[np.int64] | None:
    """Microseconds of numbers that are all dates such as 20240131; None where one is not."""
    digits = len(f"{values_N.max(initial=0):.0f}")
    years_N = values_N // 10.0 ** (digits - 4)
    if digits not in COMPACT or np.any((years_N < 1900) | (years_N >= 2100) | (values_N % 1 != 0)):
        return None
    texts = pd.Series(values_N.astype(np.int64).astype(str))
    moments = pd.to_datetime(texts, format=COMPACT[digits], errors="coerce")
    return None if moments.isna().any() else moments.to_numpy("datetime64[us]").astype(np.int64)


def _from_text(given: pa.Array) -> pa.Array:
    whole = pc.match_substring_regex(given, _WHOLE_DATE)
    texts = pc.if_else(whole, given, None)
    parsed = pd.to_datetime(texts.to_pandas(), errors="coerce", utc=True, format="ISO8601")
    times = pc.cast(pa.array(parsed, from_pandas=True), UTC_MICROSECONDS, safe=False)
    times = pc.if_else(pc.less(times, _SECOND_DAY), None, times)  # the first stands for no date, as in `read_moment`
    left = given.filter(pc.and_(pc.is_null(times), pc.is_valid(given))).unique()
    return _filled(times, given, dict(_one_by_one(left))) if len(left) else times


def _filled(times: pa.Array, given: pa.Array, found: dict[str, object]) -> pa.Array:
    texts = pa.array(found.keys(), pa.string())
    others = pa.array(found.values(), UTC_MICROSECONDS).take(pc.index_in(given, texts))
    return pc.coalesce(times, others)


def _one_by_one(texts: pa.Array) -> Iterator[tuple[str, object]]:
    """What other ways of writing a date give, up to the first that gives none: that one is an error anyway."""
    for text in texts.to_pylist():
        try:
            moment = read_moment(text)
        except ValueError:
            return
        yield text, moment

from datetime import UTC, date, datetime, timedelta, timezone
from decimal import Decimal

import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.moments import UNITS, read_moment
from steady import steady

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-31T12:00:00",
        "2024-01-31 12:00",
        " 2024-01-31 12:00:00 UTC",
        "2024-01-31t12:00:00z",
        "2024-01-31T17:30:00+0530",
        "2024-01-31 17:30:00 +05:30",
        "2024/1/31 12:00",
        "2024-01-31T12:00:00.000000000Z",
        "20240131T120000Z",
        "20240131120000",
        "2024-W05-3T12:00",
        "1706702400",
        "1706702400.0",
        "1.7067024e9",
        1706702400,
        1706702400.0,
        Decimal("1706702400.00"),
        "1706702400000",
        1706702400000,
        1706702400000000,
        "1706702400000000000",
        1.7067024e18,
        NOON,
        NOON.astimezone(timezone(timedelta(hours=5, minutes=30))),
        pd.Timestamp(NOON),
    ],
)
def test_a_moment_is_read_in_every_supported_format(written: object) -> None:
    assert read_moment(written) == NOON


@pytest.mark.parametrize("written", ["2024-01-31", "20240131", 20240131, 20240131.0, "2024/01/31", date(2024, 1, 31)])
def test_a_date_without_a_time_is_midnight_utc(written: object) -> None:
    assert read_moment(written) == NOON.replace(hour=0)


@pytest.mark.parametrize(
    "written",
    [
        *(None, "", " ", float("nan"), pd.NaT, "NaT", "nan", "None", "null", "NULL", "<NA>", "N/A", "\\N", "0", 0, 0.0),
        *("0000-00-00", "0000-00-00 00:00:00", "0001-01-01", "0001-01-01T00:00:00Z"),
    ],
)
def test_every_notation_of_a_missing_date_reads_as_none(written: object) -> None:
    assert read_moment(written) is None


@pytest.mark.parametrize(
    "written",
    [
        *("2024", 2024, "2024-01", "2024-W05", "2024013112", 202401311200),
        *("31/01/2024", "01/02/2024", "31.01.2024", "Jan 31, 2024", "soon", True, [2024]),
        *("2024-02-30", "2024-01-31-05:00", "2024-01-31+01:00", "2024-01-31T12:00 Europe/Berlin", "2024-01-31T25:00"),
        *("45322", 45322.5, -1, "1e999999", "inf", 1e20, "0001-01-01T00:00+05:00", "9999-12-31T23:59-05:00"),
    ],
)
def test_invalid_and_ambiguous_dates_are_rejected(written: object) -> None:
    with pytest.raises(ValueError, match=r"."):
        read_moment(written)


@steady
@given(st.datetimes(datetime(1974, 1, 1), datetime(2100, 1, 1)), st.sampled_from(list(UNITS)))
def test_the_unit_of_a_number_since_1970_follows_from_its_size(moment: datetime, unit: str) -> None:
    moment = moment.replace(microsecond=0, tzinfo=UTC)
    number = int(moment.timestamp()) * UNITS[unit]
    try:
        assert read_moment(number) == moment
    except ValueError as error:  # ten or twelve digits may also be a date
        assert "ambiguous" in str(error)


@steady
@given(st.datetimes(datetime(2, 1, 1), datetime(9998, 1, 1), timezones=st.timezones()))
def test_any_moment_survives_iso_text(moment: datetime) -> None:
    assert read_moment(moment.isoformat()) == moment.astimezone(UTC)
    assert read_moment(str(moment)) == moment.astimezone(UTC)


@steady
@given(st.text(max_size=30))
def test_any_text_is_a_moment_in_utc_or_none_or_rejected(text: str) -> None:
    try:
        moment = read_moment(text)
    except ValueError:
        return
    assert moment is None or moment.tzinfo is UTC

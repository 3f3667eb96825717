from datetime import UTC, datetime

import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rayreel.catalog.moments import UNITS, read_moment
from rayreel.catalog.times import read_times
from steady import steady

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    "written",
    [20240131120000, 202401311200, 2024013112, 1706702400, 1706702400 * 10**3, 1706702400 * 10**6, 1706702400 * 10**9],
)
@pytest.mark.parametrize("kind", [pa.int64(), pa.float64(), pa.string()])
def test_numbers_of_every_unit_and_type_are_read(written: int, kind: pa.DataType) -> None:
    assert read_times(pa.array([written]).cast(kind, safe=False)).to_pylist() == [NOON]


def test_compact_dates_are_read_as_dates_only_if_all_values_are() -> None:
    assert read_times(pa.array([20240131, 20240201])).to_pylist() == [
        NOON.replace(hour=0),
        datetime(2024, 2, 1, tzinfo=UTC),
    ]
    assert read_times(pa.array([20240131, 20249931]))[0].as_py().year == 1970


def test_sequence_numbers_are_read_as_seconds() -> None:
    assert [moment.timestamp() for moment in read_times(pa.array([0, 1, 2500])).to_pylist()] == [0, 1, 2500]


@pytest.mark.parametrize(
    ("numbers", "message"),
    [
        ([1706702400, 1706702400000], "seconds and milliseconds"),
        ([1706702400000, 1706702400000000], "milliseconds and microseconds"),
        ([2023, 2024], "years"),
        ([1e300], "too large"),
    ],
)
def test_numbers_that_cannot_all_be_times_in_one_unit_are_rejected(numbers: list[float], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        read_times(pa.array(numbers, pa.float64()))


def test_a_type_that_is_not_a_point_in_time_is_rejected() -> None:
    for kind in (pa.duration("s"), pa.time32("s")):
        with pytest.raises(ValueError, match="its type is"):
            read_times(pa.array([3], kind))


@pytest.mark.parametrize(
    "written",
    ["soon", "inf", "2024-01", "31/01/2024", "NaT", "", "2024-01-31-05:00", "0000-00-00", "0001-01-01T00:00:00Z"],
)
def test_a_value_that_is_not_a_time_is_null(written: str) -> None:
    assert read_times(pa.array(["2024-01-31", written]))[1].as_py() is None


def test_a_negative_number_is_null() -> None:
    assert read_times(pa.array([-1, 1706702400])).to_pylist() == [None, NOON]


def test_formats_that_pandas_does_not_support_are_read_one_by_one() -> None:
    written = [
        "2024-01-31T12:00:00Z",
        "2024-01-31 12:00:00 UTC",
        "2024/1/31 12:00",
        "2024-01-31T12:00:00.000000001Z",
        None,
    ]
    assert read_times(pa.array(written)).to_pylist() == [NOON, NOON, NOON, NOON, None]


@steady
@given(
    st.lists(st.datetimes(datetime(2004, 1, 1), datetime(2100, 1, 1)), min_size=1),
    st.sampled_from(list(UNITS.values())),
)
def test_a_column_is_read_like_the_cells_of_a_catalog(moments: list[datetime], per_second: int) -> None:
    wanted = [moment.replace(microsecond=0, tzinfo=UTC) for moment in moments]
    texts = [moment.isoformat() for moment in wanted]
    assert read_times(pa.array(texts)).to_pylist() == [read_moment(text) for text in texts] == wanted
    numbers = [int(moment.timestamp()) * per_second for moment in wanted]
    assert read_times(pa.array(numbers)).to_pylist() == wanted

from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayreel.catalog.interactions import SCHEMA, read_interactions
from rayreel.catalog.problem import CatalogError

NOON = datetime(2024, 1, 31, 12, tzinfo=UTC)


def read_csv(tmp_path: Path, text: str) -> pa.Table:
    (tmp_path / "i.csv").write_text(text)
    return read_interactions(tmp_path / "i.csv")


def read_parquet(tmp_path: Path, columns: dict[str, Any]) -> pa.Table:
    pq.write_table(pa.table(columns), tmp_path / "i.parquet")
    return read_interactions(tmp_path / "i.parquet")


def moments(table: pa.Table) -> list[datetime]:
    return [datetime.fromisoformat(str(moment)) for moment in table["timestamp"].to_pylist()]


def test_csv_gives_the_schema_with_null_where_there_is_nothing(tmp_path: Path) -> None:
    table = read_csv(
        tmp_path, "video_id,user_id,timestamp,rating,device\nv,007,1706702400,4.5,tv\nNA,u,1706702400,,tv\n"
    )
    assert table.schema == SCHEMA
    assert table["user_id"].to_pylist() == ["007", "u"]
    assert table["video_id"].to_pylist() == ["v", "NA"]
    assert table["rating"].to_pylist() == [4.5, None]
    assert table["dwell_s"].null_count == 2


@pytest.mark.parametrize(
    "written",
    [
        "2024-01-31T12:00:00",
        "2024-01-31 12:00:00Z",
        "2024-01-31T14:00:00.000+02:00",
        "1706702400",
        "1706702400.0",
        "1706702400000",
    ],
)
def test_one_moment_may_be_written_in_many_ways(tmp_path: Path, written: str) -> None:
    assert moments(read_csv(tmp_path, f"user_id,video_id,timestamp\nu,v,{written}\n")) == [NOON]


def test_ways_of_writing_iso_may_mix_in_one_file(tmp_path: Path) -> None:
    text = "user_id,video_id,timestamp\nu,v,2024-01-31\nu,v,2024-01-31T12:00:00Z\nu,v,2024-01-31T12:00:00.250+01:00\n"
    assert [moment.isoformat() for moment in moments(read_csv(tmp_path, text))] == [
        "2024-01-31T00:00:00+00:00",
        "2024-01-31T12:00:00+00:00",
        "2024-01-31T11:00:00.250000+00:00",
    ]


@pytest.mark.parametrize(
    "given",
    [
        pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([NOON], pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array([1706702400], pa.int64()),
        pa.array([1706702400.0], pa.float64()),
        pa.array(["2024-01-31T12:00:00Z"], pa.large_string()),
        pa.array(["2024-01-31T12:00:00Z"]).dictionary_encode(),
    ],
)
def test_parquet_timestamps_of_every_type_are_utc_microseconds(tmp_path: Path, given: pa.Array) -> None:
    table = read_parquet(tmp_path, {"user_id": [1], "video_id": ["v"], "timestamp": given})
    assert table.schema == SCHEMA
    assert (table["user_id"].to_pylist(), moments(table)) == (["1"], [NOON])


def test_parquet_dates_and_missing_numbers_are_taken(tmp_path: Path) -> None:
    columns = {"timestamp": [date(2024, 1, 31)], "rating": [float("nan")], "dwell_s": [3]}
    table = read_parquet(tmp_path, {"user_id": ["u"], "video_id": ["v"], **columns})
    assert moments(table) == [NOON.replace(hour=0)]
    assert (table["rating"].to_pylist(), table["dwell_s"].to_pylist()) == ([None], [3.0])


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("u,v,someday,1", "row 2: timestamp holds 'someday', not an ISO date or epoch seconds"),
        ("u,v,,1", "row 2: timestamp holds ''"),
        (" ,v,2024-01-31,1", "row 2: user_id holds ''"),
        ("u,v,2024-01-31,good", "row 2: rating holds 'good', not a number"),
        ("u,v", "cannot be read"),
    ],
)
def test_a_bad_row_is_an_error_that_names_it(tmp_path: Path, row: str, said: str) -> None:
    with pytest.raises(CatalogError) as error:
        read_csv(tmp_path, f"user_id,video_id,timestamp,rating\nu,v,2024-01-31,1\n{row}\n")
    assert said in str(error.value) and str(tmp_path / "i.csv") in str(error.value)


def test_missing_columns_and_files_are_errors(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) video_id; it has 'user_id', 'timestamp'"):
        read_csv(tmp_path, "user_id,timestamp\nu,1\n")
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) user_id, timestamp; it has 'video_id'"):
        read_parquet(tmp_path, {"video_id": ["v"]})
    with pytest.raises(CatalogError, match="There is no file"):
        read_interactions(tmp_path / "nowhere.csv")
    with pytest.raises(CatalogError, match=r"must end in \.csv, \.parquet"):
        read_interactions(tmp_path / "i.tsv")

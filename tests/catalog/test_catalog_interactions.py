from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayreel.catalog.interactions import SCHEMA, read_interactions
from rayreel.catalog.manifest import read_manifest
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


def test_csv_is_read_into_the_schema_with_null_for_missing_values(tmp_path: Path) -> None:
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
def test_a_timestamp_is_read_in_every_supported_format(tmp_path: Path, written: str) -> None:
    assert moments(read_csv(tmp_path, f"user_id,video_id,timestamp\nu,v,{written}\n")) == [NOON]


def test_a_file_may_mix_iso_formats(tmp_path: Path) -> None:
    text = "user_id,video_id,timestamp\nu,v,2024-01-31\nu,v,2024-01-31T12:00:00Z\nu,v,2024-01-31T12:00:00.250+01:00\n"
    assert [moment.isoformat() for moment in moments(read_csv(tmp_path, text))] == [
        "2024-01-31T00:00:00+00:00",
        "2024-01-31T12:00:00+00:00",
        "2024-01-31T11:00:00.250000+00:00",
    ]


@pytest.mark.parametrize(
    "timestamps",
    [
        pa.array([NOON.replace(tzinfo=None)], pa.timestamp("ns")),
        pa.array([NOON], pa.timestamp("ms", tz="Europe/Berlin")),
        pa.array([1706702400], pa.int64()),
        pa.array([1706702400.0], pa.float64()),
        pa.array(["2024-01-31T12:00:00Z"], pa.large_string()),
        pa.array(["2024-01-31T12:00:00Z"]).dictionary_encode(),
    ],
)
def test_parquet_timestamps_of_every_type_become_utc_microseconds(tmp_path: Path, timestamps: pa.Array) -> None:
    table = read_parquet(tmp_path, {"user_id": [1], "video_id": ["v"], "timestamp": timestamps})
    assert table.schema == SCHEMA
    assert (table["user_id"].to_pylist(), moments(table)) == (["1"], [NOON])


def test_parquet_dates_and_missing_numbers_are_read(tmp_path: Path) -> None:
    columns = {"timestamp": [date(2024, 1, 31)], "rating": [float("nan")], "dwell_s": [3]}
    table = read_parquet(tmp_path, {"user_id": ["u"], "video_id": ["v"], **columns})
    assert moments(table) == [NOON.replace(hour=0)]
    assert (table["rating"].to_pylist(), table["dwell_s"].to_pylist()) == ([None], [3.0])


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ("u,v,someday,1", "row 2: timestamp is 'someday', expected an ISO date or epoch seconds"),
        ("u,v,,1", "row 2: timestamp is ''"),
        (" ,v,2024-01-31,1", "row 2: user_id is ''"),
        ("u,v,2024-01-31,good", "row 2: rating is 'good', expected a number"),
        ("u,v", "cannot be read"),
    ],
)
def test_an_invalid_row_raises_an_error_that_names_it(tmp_path: Path, row: str, message: str) -> None:
    with pytest.raises(CatalogError) as error:
        read_csv(tmp_path, f"user_id,video_id,timestamp,rating\nu,v,2024-01-31,1\n{row}\n")
    assert message in str(error.value) and str(tmp_path / "i.csv") in str(error.value)


def test_missing_columns_and_files_raise_errors(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) video_id; it has 'user_id', 'timestamp'"):
        read_csv(tmp_path, "user_id,timestamp\nu,1\n")
    with pytest.raises(CatalogError, match=r"lacks the column\(s\) user_id, timestamp; it has 'video_id'"):
        read_parquet(tmp_path, {"video_id": ["v"]})
    with pytest.raises(CatalogError, match="does not exist"):
        read_interactions(tmp_path / "nowhere.csv")
    with pytest.raises(CatalogError, match=r"must end in \.csv, \.parquet"):
        read_interactions(tmp_path / "i.tsv")


@pytest.mark.parametrize("unit", [1, 10**3, 10**6, 10**9])
def test_timestamps_in_every_unit_are_read_from_text_and_numbers(tmp_path: Path, unit: int) -> None:
    number = 1706702400 * unit
    assert moments(read_csv(tmp_path, f"user_id,video_id,timestamp\nu,v,{number}\n")) == [NOON]
    columns = {"user_id": ["u"], "video_id": ["v"]}
    assert moments(read_parquet(tmp_path, columns | {"timestamp": [number]})) == [NOON]


@pytest.mark.parametrize(
    "ids",
    [
        pa.array([101.0, 102.0]),
        pa.array([101.0, 102.0], pa.float32()),
        pa.array(["101.0", "102.0"]),
        pa.array(["101.0", "102.0"]).dictionary_encode(),
        pa.array([Decimal("101.00"), Decimal("102.00")]),
        pa.array([b"101", b"102"]),
    ],
)
def test_ids_of_every_type_join_those_of_a_catalog(tmp_path: Path, ids: pa.Array) -> None:
    pq.write_table(pa.table({"video_id": ids, "uri": ["a.mp4", "a.mp4"]}), tmp_path / "c.parquet")
    catalog = [video.video_id for video in read_manifest(str(tmp_path / "c.parquet"))]
    table = read_parquet(tmp_path, {"user_id": ids, "video_id": ids, "timestamp": [1, 2]})
    assert table["video_id"].to_pylist() == table["user_id"].to_pylist() == catalog == ["101", "102"]


def test_float_ids_of_csv_and_recbole_are_converted_and_padded_ids_are_kept(tmp_path: Path) -> None:
    table = read_csv(tmp_path, "user_id,video_id,timestamp\n7.0,00101,1\n8.0,102,2\n")
    assert (table["user_id"].to_pylist(), table["video_id"].to_pylist()) == (["7", "8"], ["00101", "102"])
    (tmp_path / "a.inter").write_text("user_id:token\titem_id:token\ttimestamp:float\n007\t101.0\t1706702400.0\n")
    table = read_interactions(tmp_path / "a.inter")
    assert (table["user_id"].to_pylist(), table["video_id"].to_pylist()) == (["007"], ["101"])


def test_a_float_id_that_lost_digits_raises_an_error(tmp_path: Path) -> None:
    with pytest.raises(CatalogError, match="video_id cannot be read: it contains a float too large"):
        read_parquet(tmp_path, {"user_id": ["u"], "video_id": [2.0**60], "timestamp": [1]})


@pytest.mark.parametrize("end", ["x", 'x"'])
def test_an_unclosed_quote_raises_an_error_instead_of_losing_rows(tmp_path: Path, end: str) -> None:
    rows = f'u,1,1706702400,"open\nu,2,1706702400,plain\nu,3,1706702400,{end}\n'
    with pytest.raises(CatalogError, match="unclosed quote before the row 'u,2,1706702400,plain'"):
        read_csv(tmp_path, f"user_id,video_id,timestamp,title\n{rows}")


def test_an_extra_column_may_contain_text_of_several_lines(tmp_path: Path) -> None:
    text = 'user_id,video_id,timestamp,review\nu,1,1706702400,"one, two, three,\n,,,\nfour"\nu,2,1706702400,x\n'
    assert read_csv(tmp_path, text)["video_id"].to_pylist() == ["1", "2"]


@pytest.mark.parametrize("absent", ["", "NA", "None", "null", "\\N", "nan", "<NA>"])
def test_every_notation_of_a_missing_rating_reads_as_null(tmp_path: Path, absent: str) -> None:
    table = read_csv(tmp_path, f"user_id,video_id,timestamp,rating\nu,v,1706702400,{absent}\nu,v,1706702400,3\n")
    assert table["rating"].to_pylist() == [None, 3]


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ("user_id;video_id;timestamp\nu;v;1\n", "separated by ';'"),
        ("user_id::video_id::timestamp\n1::2::3\n", "separated by '::'"),
        ("user_id,video_id,timestamp\nu,v,1\n".encode("utf-16"), "Save it as UTF-8"),
        ("user_id,video_id,timestamp\né,v,1\n".encode("latin-1"), "Save it as UTF-8"),
        ("é,user_id,video_id,timestamp\n1,u,v,1\n".encode("latin-1"), "Save it as UTF-8"),
        ("user_id,video_id,timestamp,user_id\nu,v,1,w\n", "user_id more than once"),
        ("user_id,video_id,timestamp\nu,v,inf\n", "row 1: timestamp is 'inf'"),
        ("user_id,video_id,timestamp\nu,v,-1\n", "row 1: timestamp is '-1'"),
        ("user_id,video_id,timestamp\nu,v,1706702400\nu,v,1706702400000\n", "seconds and milliseconds"),
        ("user_id,video_id,timestamp,rating\nu,v,1706702400,inf\n", "row 1: rating is 'inf'"),
        ("", "cannot be read"),
    ],
)
def test_a_file_in_another_format_raises_an_error_that_names_it(
    tmp_path: Path, content: str | bytes, message: str
) -> None:
    (tmp_path / "i.csv").write_bytes(content.encode() if isinstance(content, str) else content)
    with pytest.raises(CatalogError, match=message) as error:
        read_interactions(tmp_path / "i.csv")
    assert str(tmp_path / "i.csv") in str(error.value)


@pytest.mark.parametrize("column", ["user_id", "timestamp", "rating"])
@pytest.mark.parametrize("values", [pa.array([["a"]]), pa.array([b"\xff"]), pa.array([{"a": 1}])])
def test_an_unsupported_type_raises_an_error_that_names_the_column(
    tmp_path: Path, column: str, values: pa.Array
) -> None:
    columns = {"user_id": pa.array(["u"]), "video_id": pa.array(["v"]), "timestamp": pa.array([1]), column: values}
    with pytest.raises(CatalogError, match=f"column {column} cannot be read"):
        read_parquet(tmp_path, columns)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("u.data", "196\t242\t3\t881250949\n"),
        ("ratings.dat", "196::242::3::881250949\n"),
        ("ratings.csv", "userId,movieId,rating,timestamp\n196,242,3,881250949\n"),
    ],
)
def test_the_files_of_movielens_are_read_as_they_are(tmp_path: Path, name: str, text: str) -> None:
    (tmp_path / name).write_text(text)
    [row] = read_interactions(tmp_path / name).to_pylist()
    assert (row["user_id"], row["video_id"], row["rating"]) == ("196", "242", 3.0)
    assert row["timestamp"] == datetime(1997, 12, 4, 15, 55, 49, tzinfo=UTC)


def test_a_folder_is_read_as_all_of_its_parquet_files(tmp_path: Path) -> None:
    for month in (1, 2):
        folder = tmp_path / f"month=2024-0{month}"
        folder.mkdir()
        view = {"user_id": ["u"], "video_id": [f"v{month}"], "timestamp": [datetime(2024, month, 1, tzinfo=UTC)]}
        pq.write_table(pa.table(view), folder / "part.parquet")
    assert read_interactions(tmp_path)["video_id"].to_pylist() == ["v1", "v2"]


def test_further_text_columns_are_kept_on_request(tmp_path: Path) -> None:
    (tmp_path / "i.csv").write_text("user_id,video_id,timestamp,type\nu,v,1706702400,like\nu,w,1706702400,\n")
    assert read_interactions(tmp_path / "i.csv", more=("type",))["type"].to_pylist() == ["like", None]

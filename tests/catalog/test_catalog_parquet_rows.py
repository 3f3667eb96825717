import datetime as dt
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.parquet_rows import read_rows


def rows(tmp_path: Path, left_out: LeftOut | None = None, **columns: pa.Array) -> list[dict[str, Any]]:
    pq.write_table(pa.table(columns), tmp_path / "c.parquet")
    return list(read_rows(pq.ParquetFile(tmp_path / "c.parquet"), left_out or LeftOut()))


@pytest.mark.parametrize("kind", [pa.binary(), pa.large_binary(), pa.binary(2)])
def test_binary_extra_columns_are_skipped_and_reported(tmp_path: Path, kind: pa.DataType) -> None:
    left_out = LeftOut()
    assert rows(tmp_path, left_out, video_id=pa.array(["a"]), thumb=pa.array([b"\xff\xd8"], kind)) == [
        {"video_id": "a"}
    ]
    assert left_out.lines() == ["binary columns: 1 (thumb)"]


def test_bytes_in_a_known_column_are_kept(tmp_path: Path) -> None:
    assert rows(tmp_path, video_id=pa.array([b"a"])) == [{"video_id": b"a"}]


def test_a_value_that_python_cannot_represent_becomes_text(tmp_path: Path) -> None:
    _, offsets, data = pa.array([b"ok", b"caf\xe9"]).buffers()
    text = pa.Array.from_buffers(pa.string(), 2, [None, offsets, data])
    far = pa.array([0, 10**15], pa.timestamp("s"))
    first, second = rows(tmp_path, text=text, far=far)
    assert first == {"text": "ok", "far": dt.datetime(1970, 1, 1)}
    assert second == {"text": "caf\udce9", "far": f"{10**18} timestamp[ms]"}


def test_nanoseconds_are_truncated_to_microseconds(tmp_path: Path) -> None:
    (row,) = rows(tmp_path, at=pa.array([1706702400 * 10**9 + 1], pa.timestamp("ns")))
    assert type(row["at"]) is dt.datetime and row["at"] == dt.datetime(2024, 1, 31, 12)

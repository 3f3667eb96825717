"""Who watched what: the interactions that pairs, splits and user evaluation are made of."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rayreel.catalog.manifest import require
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.recbole import read_atomic
from rayreel.catalog.source import local_path, open_source, suffix

SCHEMA = pa.schema(
    [
        pa.field("user_id", pa.string(), nullable=False),
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("timestamp", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("rating", pa.float32()),
        pa.field("dwell_s", pa.float32()),
    ]
)
EXPECTED = {
    "user_id": "an id",
    "video_id": "an id",
    "timestamp": "an ISO date or epoch seconds",
    "rating": "a number",
    "dwell_s": "a number",
}
REQUIRED = ("user_id", "video_id", "timestamp")
MILLISECONDS_FROM = 2e10  # read as seconds this is the year 2603; pydantic draws the same line for `created_at`


def read_interactions(path: str | Path, names: Mapping[str, str] | None = None) -> pa.Table:
    """Read CSV, Parquet or RecBole's .inter into the columns of SCHEMA, in the file's order.

    `names` maps a file's own column names to those of SCHEMA; an .inter file's `item_id` is the `video_id`. `timestamp`
    may be ISO text (UTC unless it names a zone), epoch seconds or epoch milliseconds. `rating` and `dwell_s` are null
    where the file lacks them; other columns are dropped. Raises CatalogError, naming the first bad row.
    """
    uri = local_path(str(path))
    table = _read(uri, names or ({"item_id": "video_id"} if suffix(uri) == ".inter" else {}))
    columns = [_column(table, field, uri) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def _read(uri: str, names: Mapping[str, str]) -> pa.Table:
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".inter": read_atomic}
    if (read := readers.get(suffix(uri))) is None:
        raise CatalogError(f"{uri} is no interactions file: its name must end in {', '.join(readers)}. Convert it.")
    own = {name: name for name in SCHEMA.names} | {ours: theirs for theirs, ours in names.items()}
    with open_source(uri) as file:
        try:
            table = read(file, list(own.values()))
        except (pa.ArrowException, OSError) as error:
            raise CatalogError(f"{uri} cannot be read: {error}. Mend or export it again.") from error
    require(table.column_names, [own[name] for name in REQUIRED], uri)
    return pa.table({ours: table[theirs] for ours, theirs in own.items() if theirs in table.column_names})


def _read_csv(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    # Read as text: user 007 is not user 7, and a bad cell is reported with its row.
    return pa_csv.read_csv(
        file, convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
    )


def _read_parquet(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    parquet = pq.ParquetFile(file)
    return parquet.read(columns=[name for name in columns if name in parquet.schema_arrow.names])


def _column(table: pa.Table, field: pa.Field, uri: str) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    given = _plain(table[field.name].combine_chunks())
    column = pc.if_else(_blank(given), None, _converted(given, field.type))
    # An empty optional cell is absent; everything else that came out as null could not be read.
    bad = pc.and_(pc.is_null(column), pc.invert(_blank(given))) if field.nullable else pc.is_null(column)
    if (row := pc.index(bad, True).as_py()) >= 0:
        value, expected = given[row].as_py(), EXPECTED[field.name]
        raise CatalogError(f"{uri} row {row + 1}: {field.name} holds {value!r}, not {expected}. Mend or drop the row.")
    return column


def _plain(given: pa.Array) -> pa.Array:
    """Text in one type: data frames write dictionaries and large strings."""
    kind = given.type
    as_is = pa.types.is_temporal(kind) or pa.types.is_primitive(kind)
    return given if as_is else pc.utf8_trim_whitespace(pc.cast(given, pa.string()))


def _blank(given: pa.Array) -> pa.Array:
    empty = pc.is_in(pc.cast(given, pa.string()), pa.array(["", "nan", "NaN"]))
    return pc.or_(pc.is_null(given), empty)


def _converted(given: pa.Array, kind: pa.DataType) -> pa.Array:
    """Convert text or numbers; what cannot be converted is null."""
    if pa.types.is_timestamp(kind):
        return _moments(given, kind)
    return pc.cast(given if pa.types.is_string(kind) else _numbers(given), kind)


def _numbers(given: pa.Array) -> pa.Array:
    return pa.array(pd.to_numeric(given.to_pandas(), errors="coerce"), pa.float64(), from_pandas=True)


def _moments(given: pa.Array, kind: pa.DataType) -> pa.Array:
    if pa.types.is_temporal(given.type):
        return pc.cast(given, kind, safe=False)
    numbers = _numbers(given)
    if numbers.null_count < len(numbers):
        seconds = pc.if_else(pc.greater(pc.abs(numbers), MILLISECONDS_FROM), pc.divide(numbers, 1000), numbers)
        return pc.cast(pc.cast(pc.round(pc.multiply(seconds, 1e6)), pa.int64()), kind)
    parsed = pd.to_datetime(given.to_pandas(), errors="coerce", utc=True, format="ISO8601")
    return pa.array(parsed, kind, from_pandas=True)

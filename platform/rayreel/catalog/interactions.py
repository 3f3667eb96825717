"""Read interactions (who watched what): the input of training pairs, splits and user evaluation."""

import csv
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
import pyarrow.parquet as pq

from rayreel.catalog.blank import WORDS
from rayreel.catalog.id_column import id_texts
from rayreel.catalog.manifest import require
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.recbole import read_atomic
from rayreel.catalog.source import local_path, open_source, suffix
from rayreel.catalog.times import read_numbers, read_times

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


def read_interactions(path: str | Path, names: Mapping[str, str] | None = None) -> pa.Table:
    """Read a CSV, Parquet or RecBole .inter file into the columns of SCHEMA, in file order.

    `names` maps the file's column names to those of SCHEMA; the `item_id` of an .inter file is the `video_id`.
    `timestamp` accepts all formats of `read_times`; ids converted to floats lose their .0, as in a catalog. `rating`
    and `dwell_s` are null if the file does not have them; other columns are dropped. Raises CatalogError, which names
    the first invalid row.

    >>> views = pa.table({"user_id": ["ann"], "video_id": ["waves"], "timestamp": [1706702400]})
    >>> pq.write_table(views, "views.parquet")
    >>> [view] = read_interactions("views.parquet").to_pylist()
    >>> view["video_id"], view["timestamp"].isoformat(), view["rating"]
    ('waves', '2024-01-31T12:00:00+00:00', None)
    """
    uri = local_path(str(path))
    table = _read(uri, names or ({"item_id": "video_id"} if suffix(uri) == ".inter" else {}))
    columns = [_column(table, field, uri) for field in SCHEMA]
    return pa.table(columns, schema=SCHEMA)


def _read(uri: str, names: Mapping[str, str]) -> pa.Table:
    readers = {".csv": _read_csv, ".parquet": _read_parquet, ".inter": read_atomic}
    if (read := readers.get(suffix(uri))) is None:
        raise CatalogError(f"{uri} is not an interactions file: its name must end in {', '.join(readers)}. Convert it.")
    column_of = {name: name for name in SCHEMA.names} | {ours: theirs for theirs, ours in names.items()}
    with open_source(uri) as file:
        try:
            table = read(file, list(column_of.values()))
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CatalogError(f"{uri} cannot be read: {error}. Save it as UTF-8 text, or export it again.") from error
    if repeated := sorted(name for name in column_of.values() if table.column_names.count(name) > 1):
        raise CatalogError(f"{uri} has the column(s) {', '.join(repeated)} more than once. Rename or remove one.")
    require(table.column_names, [column_of[name] for name in REQUIRED], uri)
    return pa.table({ours: table[theirs] for ours, theirs in column_of.items() if theirs in table.column_names})


def _read_csv(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    # Read as text: user 007 is not user 7, and an invalid cell can be reported with its row.
    table = pa_csv.read_csv(
        file, convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
    )
    _check_quotes(table, columns)
    return table


def _check_quotes(table: pa.Table, columns: list[str]) -> None:
    """Raise ValueError if an unclosed quote merged the following rows into a cell, which pyarrow accepts as text."""
    positions = [table.column_names.index(name) for name in columns if name in table.column_names]
    for column in (column for column in table.columns if pa.types.is_string(column.type)):
        for cell in column.filter(pc.match_substring(column, "\n")).to_pylist():
            for row in csv.reader(cell.splitlines()[1:]):
                if len(row) == table.num_columns and all(row[at].strip() for at in positions[: len(REQUIRED)]):
                    raise ValueError(f"unclosed quote before the row {','.join(row)[:80]!r}")


def _read_parquet(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    parquet = pq.ParquetFile(file)
    return parquet.read(columns=[name for name in columns if name in parquet.schema_arrow.names])


def _column(table: pa.Table, field: pa.Field, uri: str) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    try:
        cells = _decoded(table[field.name].combine_chunks())
        blank = _blank(cells, field)
        column = pc.if_else(blank, None, _converted(cells, field))
    except (ValueError, pa.ArrowException) as error:
        remedy = f"Write {EXPECTED[field.name]} in every row, in the same format"
        raise CatalogError(f"{uri}: the column {field.name} cannot be read: {error}. {remedy}.") from error
    # A blank optional cell is a missing value; any other null could not be converted.
    invalid = pc.and_(pc.is_null(column), pc.invert(blank)) if field.nullable else pc.is_null(column)
    if (row := pc.index(invalid, True).as_py()) >= 0:
        value, expected = cells[row].as_py(), EXPECTED[field.name]
        raise CatalogError(
            f"{uri} row {row + 1}: {field.name} is {value!r}, expected {expected}. Correct or remove the row."
        )
    return column


def _decoded(cells: pa.Array) -> pa.Array:
    """Decode dictionaries and convert text of any type (data frames write large strings) to trimmed strings."""
    kind = cells.type.value_type if pa.types.is_dictionary(cells.type) else cells.type
    cells = pc.cast(cells, kind)
    if pa.types.is_temporal(kind) or (pa.types.is_primitive(kind) and not pa.types.is_decimal(kind)):
        return cells
    text = pc.utf8_trim_whitespace(pc.cast(cells, pa.string()))
    return pc.replace_substring_regex(text, r"\.0+$", "") if pa.types.is_decimal(kind) else text


def _blank(cells: pa.Array, field: pa.Field) -> pa.Array:
    """Return which cells have no value. NA is a valid id, but not a valid number."""
    words = sorted(WORDS) if field.nullable else ["", "nan"]
    empty = pc.is_in(pc.utf8_lower(pc.cast(cells, pa.string())), pa.array(words))
    return pc.or_(pc.is_null(cells), empty)


def _converted(cells: pa.Array, field: pa.Field) -> pa.Array:
    """Convert text or numbers to the field's type; values that cannot be converted become null."""
    if pa.types.is_timestamp(field.type):
        return read_times(cells)
    return id_texts(cells) if pa.types.is_string(field.type) else pc.cast(read_numbers(cells), field.type)

"""Who watched what: the interactions that pairs, splits and user evaluation are made of."""

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
    """Read CSV, Parquet or RecBole's .inter into the columns of SCHEMA, in the file's order.

    `names` maps a file's own column names to those of SCHEMA; an .inter file's `item_id` is the `video_id`. `timestamp`
    is whatever `read_times` reads; ids that a data frame made floats lose their .0, as in a catalog. `rating` and
    `dwell_s` are null where the file lacks them; other columns are dropped. Raises CatalogError, naming the first bad
    row.
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
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CatalogError(f"{uri} cannot be read: {error}. Save it as UTF-8 text, or export it again.") from error
    if twice := sorted(name for name in own.values() if table.column_names.count(name) > 1):
        raise CatalogError(f"{uri} has the column(s) {', '.join(twice)} more than once. Rename or drop one.")
    require(table.column_names, [own[name] for name in REQUIRED], uri)
    return pa.table({ours: table[theirs] for ours, theirs in own.items() if theirs in table.column_names})


def _read_csv(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    # Read as text: user 007 is not user 7, and a bad cell is reported with its row.
    table = pa_csv.read_csv(
        file, convert_options=pa_csv.ConvertOptions(column_types=dict.fromkeys(columns, pa.string()))
    )
    _check_quotes(table, columns)
    return table


def _check_quotes(table: pa.Table, columns: list[str]) -> None:
    """Raise ValueError where a quote left open makes a cell run over the next rows, which pyarrow takes for text."""
    place = [table.column_names.index(name) for name in columns if name in table.column_names]
    for column in (column for column in table.columns if pa.types.is_string(column.type)):
        for cell in column.filter(pc.match_substring(column, "\n")).to_pylist():
            for row in csv.reader(cell.splitlines()[1:]):
                if len(row) == table.num_columns and all(row[at].strip() for at in place[: len(REQUIRED)]):
                    raise ValueError(f"a quote is never closed before the row {','.join(row)[:80]!r}")


def _read_parquet(file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    parquet = pq.ParquetFile(file)
    return parquet.read(columns=[name for name in columns if name in parquet.schema_arrow.names])


def _column(table: pa.Table, field: pa.Field, uri: str) -> pa.Array:
    if field.name not in table.column_names:
        return pa.nulls(len(table), field.type)
    try:
        given = _plain(table[field.name].combine_chunks())
        blank = _blank(given, field)
        column = pc.if_else(blank, None, _converted(given, field))
    except (ValueError, pa.ArrowException) as error:
        remedy = f"Write {EXPECTED[field.name]} in each row, in one way"
        raise CatalogError(f"{uri}: the column {field.name} cannot be read: {error}. {remedy}.") from error
    # An empty optional cell is absent; everything else that came out as null could not be read.
    bad = pc.and_(pc.is_null(column), pc.invert(blank)) if field.nullable else pc.is_null(column)
    if (row := pc.index(bad, True).as_py()) >= 0:
        value, expected = given[row].as_py(), EXPECTED[field.name]
        raise CatalogError(f"{uri} row {row + 1}: {field.name} holds {value!r}, not {expected}. Mend or drop the row.")
    return column


def _plain(given: pa.Array) -> pa.Array:
    """Text in one type: data frames write dictionaries and large strings."""
    kind = given.type.value_type if pa.types.is_dictionary(given.type) else given.type
    given = pc.cast(given, kind)
    as_is = pa.types.is_temporal(kind) or (pa.types.is_primitive(kind) and not pa.types.is_decimal(kind))
    if as_is:
        return given
    text = pc.utf8_trim_whitespace(pc.cast(given, pa.string()))
    return pc.replace_substring_regex(text, r"\.0+$", "") if pa.types.is_decimal(kind) else text


def _blank(given: pa.Array, field: pa.Field) -> pa.Array:
    """Cells without a value. An id may be NA; a number may not."""
    words = sorted(WORDS) if field.nullable else ["", "nan"]
    empty = pc.is_in(pc.utf8_lower(pc.cast(given, pa.string())), pa.array(words))
    return pc.or_(pc.is_null(given), empty)


def _converted(given: pa.Array, field: pa.Field) -> pa.Array:
    """Convert text or numbers; what cannot be converted is null."""
    if pa.types.is_timestamp(field.type):
        return read_times(given)
    return id_texts(given) if pa.types.is_string(field.type) else pc.cast(read_numbers(given), field.type)

"""Read interactions (who watched what): the input of training pairs, splits and user evaluation."""

import csv
import io
from collections.abc import Callable, Mapping, Sequence
from functools import partial
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
from rayreel.catalog.source import is_remote, local_path, open_source, suffix
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
    "position": "a number",
    "propensity": "a number",
}
# Columns that only logs of what was shown have. `position` counts from 0; `propensity`: the chance to be shown at all.
BEHAVIOUR = ("type", "position", "propensity")
# Types of rows that are no views. Every other type is, and so are rows without one.
NOT_WATCHED = ("impression", "skip", "dislike", "hide", "unlike")
REQUIRED = ("user_id", "video_id", "timestamp")
# MovieLens: our names of the columns of its CSV files, and the columns of its older files, which have no header.
KNOWN_NAMES = {"userId": "user_id", "movieId": "video_id"}
MOVIELENS = ("user_id", "video_id", "rating", "timestamp")
_TYPES = {"position": pa.float32(), "propensity": pa.float32()}


def read_interactions(path: str | Path, names: Mapping[str, str] | None = None, more: Sequence[str] = ()) -> pa.Table:
    """Read a CSV, Parquet, RecBole .inter or MovieLens file into the columns of SCHEMA, in file order.

    A folder is read as the Parquet files in it, in the order of their paths. `names` maps the file's column names to
    those of SCHEMA; those of RecBole and MovieLens are known. `timestamp` accepts all formats of `read_times`; ids
    converted to floats lose their .0, as in a catalog. `rating` and `dwell_s` are null if the file does not have them,
    and so are the columns `more`; other columns are dropped. Without `more`, rows with a `type` of NOT_WATCHED are left
    out. Raises CatalogError, which names the first invalid row.

    >>> views = pa.table({"user_id": ["ann"], "video_id": ["waves"], "timestamp": [1706702400]})
    >>> pq.write_table(views, "views.parquet")
    >>> [view] = read_interactions("views.parquet").to_pylist()
    >>> view["video_id"], view["timestamp"].isoformat(), view["rating"]
    ('waves', '2024-01-31T12:00:00+00:00', None)
    """
    uri = local_path(str(path))
    schema = behaviour_schema(more or BEHAVIOUR[:1])
    files = _parts(uri) or [uri]
    table = pa.concat_tables(_read_file(file, names or {}, schema) for file in files)
    return table if more else table.filter(is_watched(table)).select(SCHEMA.names).cast(SCHEMA)


def behaviour_schema(more: Sequence[str]) -> pa.Schema:
    """Return the columns of SCHEMA and some more."""
    return pa.schema([*SCHEMA, *(pa.field(name, _TYPES.get(name, pa.string())) for name in more)])


def read_behaviour(path: str | Path) -> pa.Table:
    """Read interactions with everything that people were shown: all rows, and the columns BEHAVIOUR. See above."""
    return read_interactions(path, more=BEHAVIOUR)


def is_watched(behaviour: pa.Table) -> pa.ChunkedArray:
    """Return which rows are views, by their type."""
    return pc.invert(pc.is_in(behaviour["type"], pa.array(NOT_WATCHED)))


def _parts(uri: str) -> list[str]:
    """The Parquet files below a local folder; none if it is not a folder."""
    return [] if is_remote(uri) else sorted(str(path) for path in Path(uri).rglob("*.parquet"))


def _read_file(uri: str, names: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    table = _read(uri, names or ({"item_id": "video_id"} if suffix(uri) == ".inter" else {}), schema)
    return pa.table([_column(table, field, uri) for field in schema], schema=schema)


def _read(uri: str, names: Mapping[str, str], schema: pa.Schema) -> pa.Table:
    readers: dict[str, Callable[[Any, list[str]], pa.Table]] = {
        ".csv": _read_csv,
        ".parquet": _read_parquet,
        ".inter": read_atomic,
        ".data": partial(_read_movielens, "\t"),
        ".dat": partial(_read_movielens, "::"),
    }
    if (read := readers.get(suffix(uri))) is None:
        raise CatalogError(f"{uri} is not an interactions file: its name must end in {', '.join(readers)}. Convert it.")
    column_of = {name: name for name in schema.names} | {ours: theirs for theirs, ours in names.items()}
    with open_source(uri) as file:
        try:
            table = read(file, [*column_of.values(), *KNOWN_NAMES])
        except (pa.ArrowException, OSError, ValueError) as error:
            raise CatalogError(f"{uri} cannot be read: {error}. Save it as UTF-8 text, or export it again.") from error
    if repeated := sorted(name for name in column_of.values() if table.column_names.count(name) > 1):
        raise CatalogError(f"{uri} has the column(s) {', '.join(repeated)} more than once. Rename or remove one.")
    column_of |= {ours: theirs for theirs, ours in KNOWN_NAMES.items() if _means(table, theirs, column_of[ours])}
    require(table.column_names, [column_of[name] for name in REQUIRED], uri)
    return pa.table({ours: table[theirs] for ours, theirs in column_of.items() if theirs in table.column_names})


def _means(table: pa.Table, known: str, ours: str) -> bool:
    """Whether a table has the known column of another system, and not ours."""
    return known in table.column_names and ours not in table.column_names


def _read_movielens(separator: str, file: Any, columns: list[str]) -> pa.Table:  # noqa: ANN401
    """Read u.data or ratings.dat of MovieLens, which have no header; a separator may have two characters."""
    text = file.read().decode("utf-8").replace(separator, "\t")
    options = pa_csv.ReadOptions(column_names=MOVIELENS), pa_csv.ParseOptions(delimiter="\t", quote_char=False)
    types = pa_csv.ConvertOptions(column_types=dict.fromkeys(MOVIELENS, pa.string()))
    return pa_csv.read_csv(io.BytesIO(text.encode()), *options, types)


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

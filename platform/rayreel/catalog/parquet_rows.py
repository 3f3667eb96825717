"""Read the rows of a Parquet file as plain Python values."""

from collections.abc import Iterator
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.problem import COLUMNS

BATCH = 1024  # rows in memory at a time


def read_rows(table: pq.ParquetFile, left_out: LeftOut) -> Iterator[dict[str, Any]]:
    """Yield each row's columns. Binary columns such as thumbnails are skipped unless they are catalog columns.

    Raises pyarrow.ArrowException or OSError if the file is damaged.
    """
    fields = [field for field in table.schema_arrow if not _left_out(field, left_out)]
    names = [field.name for field in fields]
    for batch in table.iter_batches(batch_size=BATCH, columns=names):
        yield from _rows(batch, names)


def _rows(batch: pa.RecordBatch, names: list[str]) -> Iterator[dict[str, Any]]:
    columns = [_values(batch.column(name)) for name in names]
    yield from (dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True))


def _left_out(field: pa.Field, left_out: LeftOut) -> bool:
    if field.name in COLUMNS or not _is_binary(_plain_type(field.type)):
        return False
    left_out.add("binary columns", field.name)
    return True


def _plain_type(kind: pa.DataType) -> pa.DataType:
    return kind.value_type if pa.types.is_dictionary(kind) else kind


def _is_binary(kind: pa.DataType) -> bool:
    types = pa.types
    kinds = (types.is_binary, types.is_large_binary, types.is_fixed_size_binary, types.is_binary_view)
    return any(is_kind(kind) for is_kind in kinds)


def _values(column: pa.Array) -> list[Any]:
    """Return a column's values; those that Python cannot represent become text."""
    if pa.types.is_timestamp(column.type) and column.type.unit == "ns":  # Python's own datetime has microseconds
        column = pc.cast(column, pa.timestamp("us", column.type.tz), safe=False)
    try:
        return list(column.to_pylist())
    except (ValueError, OverflowError):  # text that is not UTF-8, a date after the year 9999
        return [_value(scalar) for scalar in column]


def _value(scalar: pa.Scalar) -> Any:  # noqa: ANN401
    try:
        return scalar.as_py()
    except UnicodeDecodeError:
        return scalar.as_buffer().to_pybytes().decode(errors="surrogateescape")
    except (ValueError, OverflowError):
        return f"{scalar.value} {scalar.type}"

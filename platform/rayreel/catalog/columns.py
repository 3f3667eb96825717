"""Catalog rows as Arrow columns: the public schema of all stages of extraction and of the feature store."""

import json
from collections.abc import Sequence
from datetime import datetime
from typing import Any

import pyarrow as pa

from rayreel.catalog.video import CatalogVideo, text_of

_TYPES: dict[Any, pa.DataType] = {
    str: pa.string(),
    tuple[str, ...]: pa.list_(pa.string()),
    datetime | None: pa.timestamp("us", tz="UTC"),
}


def catalog_schema(row: type[CatalogVideo] = CatalogVideo) -> pa.Schema:
    """Return one column per field. `extra` is JSON: its columns differ between catalogs, the schema must not."""
    fields = row.model_fields.items()
    return pa.schema([(name, pa.string() if name == "extra" else _TYPES[field.annotation]) for name, field in fields])


CATALOG = catalog_schema()
"""A new field of `CatalogVideo` is a column here, in every stage and in the store; older files have null there."""


def to_table(videos: Sequence[CatalogVideo]) -> pa.Table:
    """Return videos as rows of CATALOG."""
    columns = {name: [getattr(video, name) for video in videos] for name in CATALOG.names}
    columns["extra"] = [json.dumps(extra, sort_keys=True) for extra in columns["extra"]]
    return pa.table(columns, schema=CATALOG)


def to_videos(table: pa.Table) -> list[CatalogVideo]:
    """Return the videos of a table with the columns of CATALOG, which may have others: the inverse of `to_table`."""
    rows = table.select(CATALOG.names).to_pylist()
    return [CatalogVideo(**row | {"extra": json.loads(row["extra"])}) for row in rows]


def texts_of(table: pa.Table) -> list[str]:
    """Return the text for text encoders of every row of a table with the columns of CATALOG."""
    columns = (table[name].to_pylist() for name in ("title", "description", "tags"))
    return [text_of(*row) for row in zip(*columns, strict=True)]

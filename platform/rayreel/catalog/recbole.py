"""Read RecBole's atomic files, such as those of MovieLens: `.inter` (interactions) and `.item` (items).

Tab-separated text without quoting. Each column name is followed by a colon and its type; a `token_seq` is a list of
words separated by spaces. Source: https://recbole.io/docs/user_guide/data/atomic_files.html
"""

import re
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv

from rayreel.catalog.id_column import id_texts
from rayreel.catalog.manifest import require
from rayreel.catalog.problem import CatalogError
from rayreel.catalog.source import local_path, open_source, suffix

ITEMS = pa.schema(
    [
        pa.field("video_id", pa.string(), nullable=False),
        pa.field("title", pa.string(), nullable=False),
        pa.field("tags", pa.list_(pa.string()), nullable=False),
        pa.field("category", pa.string(), nullable=False),
        pa.field("created_at", pa.timestamp("us", tz="UTC")),
    ]
)
# Column names in RecBole's copies of MovieLens, Steam, Anime and Amazon.
TITLES = ("title", "movie_title", "name", "app_name")
TAGS = ("tags", "class", "genre", "genres", "categories")
YEARS = ("release_year", "year")
NO_GENRE = "unknown"


def read_atomic(file: Any, columns: Iterable[str] | None = None) -> pa.Table:  # noqa: ANN401
    """Read an open atomic file as text columns without the types in their names; only `columns`, if given.

    Names in `columns` that the file does not have are ignored. Raises pyarrow.ArrowInvalid if the number of cells in a
    row differs from the header.
    """
    header = file.readline().decode("utf-8-sig", errors="replace").rstrip("\r\n")
    names = [cell.partition(":")[0].strip() for cell in header.split("\t")]
    return pa_csv.read_csv(
        file,
        pa_csv.ReadOptions(column_names=names),
        pa_csv.ParseOptions(delimiter="\t", quote_char=False),
        pa_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()),
            include_columns=names if columns is None else [name for name in columns if name in names],
        ),
    )


def items_table(path: str | Path) -> pa.Table:
    """Read an `.item` file into the columns of ITEMS, for experiments with text only (there are no videos).

    `category` is the first of `tags`, or "" without tags; the tag "unknown" is ignored. `created_at` is the first day
    of the release year. Raises CatalogError.
    """
    uri = local_path(str(path))
    if suffix(uri) != ".item":
        raise CatalogError(f"{uri} is not a RecBole item file. Give the data set's file whose name ends in .item.")
    with open_source(uri) as file:
        try:
            table = read_atomic(file)
        except pa.ArrowException as error:
            raise CatalogError(f"{uri} cannot be read: {error}. Correct it or export it again.") from error
    require(table.column_names, ["item_id"], uri)
    tags = [[tag for tag in words.split() if tag.lower() != NO_GENRE] for words in _one_of(TAGS, table, uri)]
    columns = {
        "video_id": _ids(table, uri),
        "title": [title.strip() for title in _one_of(TITLES, table, uri)],
        "tags": tags,
        "category": [words[0] if words else "" for words in tags],
        "created_at": [_new_year(year) for year in _one_of(YEARS, table, uri, required=False)],
    }
    return pa.table(columns, schema=ITEMS)


def _ids(table: pa.Table, uri: str) -> pa.Array:
    ids = id_texts(table["item_id"].combine_chunks())
    counts = pc.value_counts(ids)
    repeated = counts.filter(pc.greater(counts.field("counts"), 1)).field("values")
    if len(repeated) or "" in ids.unique().to_pylist():
        what = f"the item {repeated[0].as_py()!r} more than once" if len(repeated) else "an item without an id"
        raise CatalogError(f"{uri} has {what}. Correct or remove the row.")
    return ids


def _one_of(names: Iterable[str], table: pa.Table, uri: str, *, required: bool = True) -> list[str]:
    """Return the values of the first of these columns that the table has."""
    for name in names:
        if name in table.column_names:
            return [value or "" for value in table[name].to_pylist()]
    if required:
        has = ", ".join(map(repr, table.column_names))
        raise CatalogError(f"{uri} lacks one of the columns {', '.join(names)}; it has {has}. Rename one.")
    return [""] * len(table)


def _new_year(year: str) -> datetime | None:
    found = re.fullmatch(r"([1-9]\d{3})(\.0)?", year.strip())
    return datetime(int(found[1]), 1, 1, tzinfo=UTC) if found else None

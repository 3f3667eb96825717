"""Read a manifest file as a catalog: CSV, TSV, JSON Lines or Parquet, local or remote."""

import json
import re
from collections import deque
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayreel.catalog.containers import SUFFIXES
from rayreel.catalog.csv_rows import parse_cell, read_records
from rayreel.catalog.ids import TextIds
from rayreel.catalog.left_out import LeftOut
from rayreel.catalog.parquet_rows import read_rows
from rayreel.catalog.problem import COLUMNS, CatalogError, RowProblem, check_row, invalid_row
from rayreel.catalog.source import absolute, at_most, is_remote, local_path, open_source, suffix
from rayreel.catalog.video import CatalogVideo
from rayreel.remote.config import ReadLimits

_LIMITS = ReadLimits()
REQUIRED = ("video_id", "uri")
# The byte order marks of UTF-16 decoded as UTF-8 with surrogateescape, and the zero bytes between ASCII characters.
_UTF_16 = re.compile("\udcff\udcfe|\udcfe\udcff|\0")


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    line: int | None
    columns: dict[str, Any]
    error: str = ""


def read_manifest(
    uri: str, left_out: LeftOut | None = None, *, limits: ReadLimits = _LIMITS
) -> Iterator[CatalogVideo | RowProblem]:
    """Yield a video or a problem for every row of a manifest, in order, without loading the whole file.

    Requires the columns `video_id` and `uri`; a relative `uri` is resolved from the manifest's folder. It may be empty
    in rows with a text. Skipped columns, such as binary ones, are counted in `left_out`. Raises CatalogError on the
    first iteration if the file cannot be read as a manifest, and later if it exceeds `limits`.
    """
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    readers |= {".parquet": lambda uri, limits: _read_parquet(uri, limits, left_out or LeftOut())}
    uri = local_path(uri)
    if (read := readers.get(suffix(uri))) is None:
        remedy = "Write one JSON object per line (jq -c '.[]')" if suffix(uri) == ".json" else "Rename or convert it"
        raise CatalogError(f"{uri} is not a manifest: its name must end in {', '.join(readers)}. {remedy}.")
    for row in _with_plain_ids(at_most(read(uri, limits), limits, uri)):
        where = f"{uri} row {row.number}" + (f" (line {row.line})" if row.line else "")
        video = check_row(row.columns, where, row.number) if not row.error else None
        if video is None:
            yield invalid_row(row.columns, where, row.number, row.error)
        elif isinstance(video, RowProblem):
            yield video
        else:
            yield _with_absolute_uri(video, uri, where, row.number)


def _with_plain_ids(rows: Iterator[_Row]) -> Iterator[_Row]:
    """Trim ids, and remove their .0 if all ids of the file are floats: holds rows back until one is not."""
    ids, pending = TextIds(), deque[_Row]()
    for row in rows:
        if isinstance(text := row.columns.get("video_id"), str):
            row.columns["video_id"] = text.strip()
        if not row.error:
            ids.add(row.columns.get("video_id"))
        pending.append(row)
        while pending and (ids.mixed or not TextIds.is_float(pending[0].columns.get("video_id"))):
            yield pending.popleft()
    for row in pending:
        yield replace(row, columns=row.columns | {"video_id": TextIds.plain(row.columns.get("video_id"))})


def require(columns: Iterable[str], required: Iterable[str], uri: str) -> None:
    """Raise CatalogError if required columns are missing."""
    columns = list(columns)
    if missing := [name for name in required if name not in columns]:
        # Never repeat the content of a remote file: it may be something that only this machine can reach.
        has = f"{len(columns)} others" if is_remote(uri) else ", ".join(map(repr, columns[:30])) or "none"
        mark = next((mark for mark in (";", "\t", "::", "|", ",") if len(columns) == 1 and mark in columns[0]), "")
        remedy = "Rename or add columns (CSV: the first line contains the column names, separated by commas)"
        remedy = f"Its columns are separated by {mark!r}: save it with commas (.csv) or tabs (.tsv)" if mark else remedy
        raise CatalogError(f"{uri} lacks the column(s) {', '.join(missing)}; it has {has}. {remedy}.")


def _with_absolute_uri(video: CatalogVideo, manifest: str, where: str, row: int) -> CatalogVideo | RowProblem:
    if not video.uri:
        return video
    try:
        uri = absolute(local_path(video.uri), manifest)
    except CatalogError as error:
        return invalid_row(video.model_dump(), where, row, str(error).rstrip("."))
    return video.model_copy(update={"uri": uri})


def _read_csv(uri: str, limits: ReadLimits) -> Iterator[_Row]:
    # surrogateescape: a byte that is not UTF-8 invalidates only its own row.
    with open_source(uri, "rt", limits, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        names: list[str] = []
        delimiter = "\t" if suffix(uri) == ".tsv" else ","
        records = read_records(file, delimiter, lambda cells: _is_row(cells, names, by_count=delimiter == "\t"))
        _, header, error = next(records, (0, [], ""))
        names += [name.strip().lstrip("\ufeff") for name in header]
        _check_header(names, error, uri)
        for number, (line, cells, unparsed) in enumerate(records, start=1):
            wrong = f"{len(cells)} cells, but the header has {len(names)}; quote cells that contain the separator"
            error = unparsed or (wrong if len(cells) != len(names) else "")
            # A column without a name is the index that data frames write.
            columns = {name: cell for name, cell in zip(names, cells, strict=False) if name}
            parsed = {name: cell if name in COLUMNS else parse_cell(cell) for name, cell in columns.items()}
            yield _Row(number, line, parsed, error)


def _is_row(cells: list[str], names: list[str], *, by_count: bool) -> bool:
    """Return whether cells are a complete row: by their number alone, or only if the uri column has a video's uri.

    A text may contain as many commas as a row, but is unlikely to have a uri in the right place.
    """
    if len(cells) != len(names) or len(cells) < len(REQUIRED):
        return False
    uri = cells[names.index("uri")].strip() if "uri" in names else ""
    return by_count or "://" in uri or suffix(uri) in SUFFIXES


def _check_header(names: list[str], error: str, uri: str) -> None:
    if error or not all(name.replace("\t", "").isprintable() for name in names):
        found = "is UTF-16 or UTF-32" if _UTF_16.search("".join(names)) else "has a first line that is not UTF-8 text"
        raise CatalogError(f"{uri} {found}. Save it as UTF-8 CSV.")
    require(names, REQUIRED, uri)
    _check_names(names, uri)


def _check_names(names: list[str], uri: str) -> None:
    if repeated := sorted({name for name in names if name and names.count(name) > 1}):
        raise CatalogError(f"{uri} has the column(s) {', '.join(repeated)} more than once. Rename or remove one.")


def _read_jsonl(uri: str, limits: ReadLimits) -> Iterator[_Row]:
    seen: dict[str, None] = {}
    number = 0
    with open_source(uri, "rt", limits, encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            number += 1
            if number == 1:
                _check_first(text, uri)
            columns, error = _parse_object(text, show_text=not is_remote(uri))
            seen |= dict.fromkeys(columns)
            yield _Row(number, line, columns, error)
    if seen:
        require(seen, REQUIRED, uri)


def _check_first(text: str, uri: str) -> None:
    if _UTF_16.search(text):
        raise CatalogError(f"{uri} is UTF-16 or UTF-32. Save it as UTF-8.")
    if text.strip() == "[" or text.lstrip().startswith(("[{", "[ {")):
        raise CatalogError(f"{uri} is a single JSON array. Write one object per line, for example with jq -c '.[]'.")


def _parse_object(text: str, *, show_text: bool) -> tuple[dict[str, Any], str]:
    """Parse a line and return its columns and an error message, one of them empty."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"not valid JSON: {error}"
    found = f", found {text.strip()[:40]!r}" if show_text else ""
    return (value, "") if isinstance(value, dict) else ({}, f"expected a JSON object{found}")


def _read_parquet(uri: str, limits: ReadLimits, left_out: LeftOut) -> Iterator[_Row]:
    number = 0
    with open_source(uri, limits=limits) as file:
        try:
            table = pq.ParquetFile(file)
            require(table.schema_arrow.names, REQUIRED, uri)
            _check_names(table.schema_arrow.names, uri)
            for number, columns in enumerate(read_rows(table, left_out), start=1):
                yield _Row(number, None, columns)
        except (pa.ArrowException, OSError) as error:
            raise CatalogError(
                f"{uri} cannot be read as Parquet after row {number}: {error}. Export it again."
            ) from error

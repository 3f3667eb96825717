"""A manifest file as a catalog: CSV, TSV, JSON lines or Parquet, local or remote."""

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rayreel.catalog.csv_rows import parse_cell, read_records
from rayreel.catalog.problem import COLUMNS, CatalogError, Problem, check_row, invalid_row
from rayreel.catalog.source import absolute, at_most, is_remote, local_path, open_source, suffix
from rayreel.catalog.video import Video
from rayreel.remote.config import ReadLimits

_LIMITS = ReadLimits()
REQUIRED = ("video_id", "uri")
BATCH = 1024  # rows of Parquet held at a time


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    line: int | None
    columns: dict[str, Any]
    fault: str = ""


def read_manifest(uri: str, *, limits: ReadLimits = _LIMITS) -> Iterator[Video | Problem]:
    """Every row of a manifest, in order and as a stream: one video or one problem each.

    Needs the columns `video_id` and `uri`; a relative `uri` counts from the manifest's own folder. Raises CatalogError,
    on the first row asked for, where the file cannot be read as a manifest, and where it is larger than `limits`.
    """
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    readers |= {".parquet": _read_parquet}
    uri = local_path(uri)
    if (read := readers.get(suffix(uri))) is None:
        raise CatalogError(f"{uri} is not a manifest: its name must end in {', '.join(readers)}. Rename or convert it.")
    for row in at_most(read(uri, limits), limits, uri):
        where = f"{uri} row {row.number}" + (f" (line {row.line})" if row.line else "")
        video = check_row(row.columns, where, row.number) if not row.fault else None
        if video is None:
            yield invalid_row(row.columns, where, row.number, row.fault)
        elif isinstance(video, Problem):
            yield video
        else:
            yield _place(video, uri, where, row.number)


def require(columns: Iterable[str], required: Iterable[str], uri: str) -> None:
    """Raise CatalogError where required columns are missing."""
    columns = list(columns)
    if missing := [name for name in required if name not in columns]:
        # What a remote file holds is not repeated: it may be no catalog but what this machine alone can reach.
        has = f"{len(columns)} others" if is_remote(uri) else ", ".join(map(repr, columns[:30])) or "none"
        remedy = "Rename or add columns (CSV: the first line names them, separated by commas)"
        raise CatalogError(f"{uri} lacks the column(s) {', '.join(missing)}; it has {has}. {remedy}.")


def _place(video: Video, manifest: str, where: str, row: int) -> Video | Problem:
    try:
        uri = absolute(local_path(video.uri), manifest)
    except CatalogError as error:
        return invalid_row(video.model_dump(), where, row, str(error).rstrip("."))
    return video.model_copy(update={"uri": uri})


def _read_csv(uri: str, limits: ReadLimits) -> Iterator[_Row]:
    # surrogateescape: a byte that is not UTF-8 spoils its own row, not the file.
    with open_source(uri, "rt", limits, encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        records = read_records(file, "\t" if suffix(uri) == ".tsv" else ",")
        _, header, fault = next(records, (0, [], ""))
        names = [name.strip() for name in header]
        _check_header(names, fault, uri)
        for number, (line, cells, unparsed) in enumerate(records, start=1):
            wrong = f"it has {len(cells)} cells where the header has {len(names)}; quote cells that hold a separator"
            fault = unparsed or (wrong if len(cells) != len(names) else "")
            # A column without a name is the index that data frames write.
            columns = {name: cell for name, cell in zip(names, cells, strict=False) if name}
            parsed = {name: cell if name in COLUMNS else parse_cell(cell) for name, cell in columns.items()}
            yield _Row(number, line, parsed, fault)


def _check_header(names: list[str], fault: str, uri: str) -> None:
    if fault or not all(name.isprintable() for name in names):
        raise CatalogError(f"{uri} has a first line that cannot be read. Save it as UTF-8 CSV.")
    require(names, REQUIRED, uri)
    if twice := sorted({name for name in names if name and names.count(name) > 1}):
        raise CatalogError(f"{uri} has the column(s) {', '.join(twice)} more than once. Rename or drop one.")


def _read_jsonl(uri: str, limits: ReadLimits) -> Iterator[_Row]:
    seen: dict[str, None] = {}
    number = 0
    with open_source(uri, "rt", limits, encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            number += 1
            columns, fault = _parse_object(text, shown=not is_remote(uri))
            seen |= dict.fromkeys(columns)
            yield _Row(number, line, columns, fault)
    if seen:
        require(seen, REQUIRED, uri)


def _parse_object(text: str, *, shown: bool) -> tuple[dict[str, Any], str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"it is not valid JSON, {error}"
    held = f"{text.strip()[:40]!r}" if shown else "something else"
    return (value, "") if isinstance(value, dict) else ({}, f"it holds {held}, not a JSON object")


def _read_parquet(uri: str, limits: ReadLimits) -> Iterator[_Row]:
    number = 0
    with open_source(uri, limits=limits) as file:
        try:
            table = pq.ParquetFile(file)
            require(table.schema_arrow.names, REQUIRED, uri)
            for batch in table.iter_batches(batch_size=BATCH):
                for columns in batch.to_pylist():
                    number += 1
                    yield _Row(number, None, columns)
        except (pa.ArrowException, OSError) as error:
            raise CatalogError(
                f"{uri} is not readable as Parquet behind row {number}: {error}. Write it anew."
            ) from error

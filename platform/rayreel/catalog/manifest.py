"""A manifest file as a catalog: CSV, TSV, JSON lines or Parquet, local or remote."""

import csv
import json
import posixpath
import re
from collections import deque
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import fsspec
import pyarrow as pa
import pyarrow.parquet as pq

from rayreel.catalog.problem import COLUMNS, CatalogError, Problem, check_row, invalid_row
from rayreel.catalog.video import Scalar, Video

REQUIRED = ("video_id", "uri")
BATCH = 1024  # rows of Parquet held at a time

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")
# A leading zero or a bare 12e4 marks an identifier, not a number.
_INT = re.compile(r"[+-]?(0|[1-9][0-9]*)")
_FLOAT = re.compile(r"[+-]?((0|[1-9][0-9]*)?\.[0-9]+([eE][+-]?[0-9]+)?|[1-9][0-9]*([eE][+-][0-9]+|\.))")


@dataclass(frozen=True, slots=True)
class _Row:
    number: int
    line: int | None
    columns: dict[str, Any]
    fault: str = ""


def read_manifest(uri: str) -> Iterator[Video | Problem]:
    """Every row of a manifest, in order and as a stream: one video or one problem each.

    Needs the columns `video_id` and `uri`; a relative `uri` counts from the manifest's own folder. Raises CatalogError,
    on the first row asked for, where the file cannot be read as a manifest.
    """
    readers = {".csv": _read_csv, ".tsv": _read_csv, ".jsonl": _read_jsonl, ".ndjson": _read_jsonl}
    readers |= {".parquet": _read_parquet}
    uri = local_path(uri)
    if (read := readers.get(suffix(uri))) is None:
        raise CatalogError(f"{uri} is not a manifest: its name must end in {', '.join(readers)}. Rename or convert it.")
    for row in read(uri):
        where = f"{uri} row {row.number}" + (f" (line {row.line})" if row.line else "")
        video = check_row(row.columns, where, row.number) if not row.fault else None
        if video is None:
            yield invalid_row(row.columns, where, row.number, row.fault)
        elif isinstance(video, Problem):
            yield video
        else:
            yield _place(video, uri, where, row.number)


@contextmanager
def open_source(uri: str, mode: str = "rb", **text: str) -> Iterator[Any]:
    """Open a local or remote file. Raises CatalogError where it cannot be opened."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(fsspec.open(uri, mode, **text))
        except FileNotFoundError as error:
            raise CatalogError(f"There is no file {uri}. Check the path.") from error
        except ImportError as error:
            remedy = "pip install 'rayreel[s3]' for s3://, 'rayreel[gcs]' for gs://"
            raise CatalogError(f"{uri} needs a package that is missing: {error}. Try {remedy}.") from error
        except Exception as error:  # every storage backend brings exceptions of its own
            remedy = "Check the address and the credentials"
            raise CatalogError(f"{uri} cannot be opened: {error or type(error).__name__}. {remedy}.") from error
        yield file


def suffix(uri: str) -> str:
    """A file's suffix in lower case, with its dot; an https:// query does not count."""
    return PurePosixPath(_without_query(uri)).suffix.lower()


def is_remote(uri: str) -> bool:
    """Whether a uri names a scheme other than file://."""
    return bool(_SCHEME.match(uri)) and not uri.lower().startswith("file://")


def local_path(uri: str) -> str:
    """Make a plain path of a file:// uri; anything else stays. Raises CatalogError where it names another machine."""
    if not uri.lower().startswith("file://"):
        return uri
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in {"", "localhost"}:
        raise CatalogError(f"{uri} names the machine {host!r}; a local file is written file:///folder/name.")
    return unquote(slash + path)


def require(columns: Iterable[str], required: Iterable[str], uri: str) -> None:
    """Raise CatalogError where required columns are missing."""
    columns = list(columns)
    if missing := [name for name in required if name not in columns]:
        has = ", ".join(map(repr, columns[:30])) or "none"
        remedy = "Rename or add columns (CSV: the first line names them, separated by commas)"
        raise CatalogError(f"{uri} lacks the column(s) {', '.join(missing)}; it has {has}. {remedy}.")


def _place(video: Video, manifest: str, where: str, row: int) -> Video | Problem:
    try:
        uri = _absolute(local_path(video.uri), manifest)
    except CatalogError as error:
        return invalid_row(video.model_dump(), where, row, str(error).rstrip("."))
    return video.model_copy(update={"uri": uri})


def _absolute(uri: str, manifest: str) -> str:
    if is_remote(uri) or uri.startswith("/"):
        return uri
    if not is_remote(manifest):
        return posixpath.normpath(Path(manifest).parent.resolve() / uri)
    scheme, _, address = _without_query(manifest).partition("://")
    host, _, path = address.partition("/")
    return f"{scheme}://{host}" + posixpath.normpath(posixpath.join("/", posixpath.dirname(path), uri))


def _without_query(uri: str) -> str:
    return re.split(r"[?#]", uri, maxsplit=1)[0] if uri.lower().startswith(("http://", "https://")) else uri


class _Lines:
    """A file's lines, with a way back: a quote left open swallows good rows until the parser gives up."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.ahead, self.back, self.row = iter(lines), deque[str](), list[str]()
        self.number = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self.back.popleft() if self.back else next(self.ahead)
        self.row.append(line)
        self.number += 1
        return line

    def start_row(self) -> int:
        self.row.clear()
        return self.number + 1

    def give_back(self) -> None:
        """Keep the row's first line as the broken one and read the others again."""
        self.back.extendleft(reversed(self.row[1:]))
        self.number -= len(self.row) - 1


def _read_csv(uri: str) -> Iterator[_Row]:
    # surrogateescape: a byte that is not UTF-8 spoils its own row, not the file.
    with open_source(uri, "rt", encoding="utf-8-sig", errors="surrogateescape", newline="") as file:
        records = _records(_Lines(file), "\t" if suffix(uri) == ".tsv" else ",")
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


def _records(lines: _Lines, delimiter: str) -> Iterator[tuple[int, list[str], str]]:
    """First line, cells and fault of each CSV record; blank lines are none. Goes on behind a record it cannot parse."""
    reader = csv.reader(lines, delimiter=delimiter, strict=True)
    while True:
        line = lines.start_row()
        try:
            cells = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            lines.give_back()
            yield line, [], f"its quotes do not match ({error}); write a quote inside a quoted cell twice"
        else:
            if cells:
                yield line, cells, ""


def parse_cell(cell: str) -> Scalar:
    """Read a number, true or false from a CSV cell; an empty cell or nan is None, everything else text."""
    cell = cell.strip()
    if cell.lower() in {"", "nan"}:
        return None
    if cell.lower() in {"true", "false"}:
        return cell.lower() == "true"
    if _INT.fullmatch(cell) and len(cell) < 20:
        return int(cell)
    return float(cell) if _FLOAT.fullmatch(cell) else cell


def _read_jsonl(uri: str) -> Iterator[_Row]:
    seen: dict[str, None] = {}
    number = 0
    with open_source(uri, "rt", encoding="utf-8-sig", errors="surrogateescape") as file:
        for line, text in enumerate(file, start=1):
            if not text.strip():
                continue
            number += 1
            columns, fault = _parse_object(text)
            seen |= dict.fromkeys(columns)
            yield _Row(number, line, columns, fault)
    if seen:
        require(seen, REQUIRED, uri)


def _parse_object(text: str) -> tuple[dict[str, Any], str]:
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        return {}, f"it is not valid JSON, {error}"
    return (value, "") if isinstance(value, dict) else ({}, f"it holds {text.strip()[:40]!r}, not a JSON object")


def _read_parquet(uri: str) -> Iterator[_Row]:
    number = 0
    with open_source(uri) as file:
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

"""Parquet parts below the storage root: append-only, checksummed, and numbered if their order matters."""

import io
import logging
import uuid
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.fs as pafs
import pyarrow.parquet as pq

from rayreel.storage import BrokenFile, Storage

log = logging.getLogger(__name__)

SUFFIX = ".parquet"
BROKEN = ".broken"


def parquet_bytes(table: pa.Table) -> bytes:
    """Return a table as a Parquet file with page checksums."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_part(
    storage: Storage, path: str, columns: Sequence[str] | None = None, schema: pa.Schema | None = None
) -> pa.Table:
    """Return the rows of a file; columns of `schema` that it does not have are null.

    Raises BrokenFile if it is damaged and FileNotFoundError if it is missing.
    """
    wanted = None if columns is None else list(columns)
    try:
        return pq.read_table(
            path,
            filesystem=storage.filesystem,
            columns=wanted,
            schema=schema,
            partitioning=None,
            page_checksum_verification=True,
        )
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(storage, path) or error from error


def set_aside(storage: Storage, broken: BrokenFile) -> None:
    """Rename a broken file, so that reads skip it and it can still be inspected; logs an error."""
    try:
        storage.filesystem.move(broken.path, f"{broken.path}{BROKEN}")
    except OSError:
        if storage.exists(broken.path):
            raise
        return  # another process renamed it
    log.error("%s is broken and was renamed to %s%s: %s", broken.path, broken.path, BROKEN, broken.cause)


def broken_files(storage: Storage) -> Iterator[BrokenFile]:
    """Yield every damaged Parquet and JSON file of catalog, features, quarantine and releases. Reads all files."""
    for folder in ("catalog", "features", "quarantine", "releases"):
        selector = pafs.FileSelector(storage.path(folder), allow_not_found=True, recursive=True)
        for info in sorted(storage.filesystem.get_file_info(selector), key=lambda info: info.path):
            with suppress(FileNotFoundError):  # merged or replaced since the folder was listed
                if broken := _damage(storage, info.path):
                    yield broken


def _damage(storage: Storage, path: str) -> BrokenFile | None:
    if path.endswith(SUFFIX):
        return _broken(storage, path)
    try:
        if path.endswith(".json"):
            storage.read_json(path)
    except BrokenFile as broken:
        return broken
    return None


@dataclass(frozen=True, slots=True)
class NumberedParts:
    """The parts of a folder in the order in which they were written.

    A part is complete once it was written while no other part of the same or a higher number existed. A reader that has
    read up to a number has therefore missed nothing below it, even with concurrent writers.
    """

    storage: Storage
    folder: str

    def add(self, table: pa.Table) -> str:
        """Write one more part and return its name. Names sort by number."""
        content = parquet_bytes(table)
        while True:
            name = part_name(max(map(number_of, self._all()), default=0) + 1)
            self.storage.write(self.path(name), content)
            if all(other == name or number_of(other) < number_of(name) for other in self._all()):
                return name
            # Another process wrote at the same time, and its part may have been read: write again with a higher number.

    def names(self, after: str = "") -> list[str]:
        """Return the names of all parts, or of those after a given part, in order."""
        names = [name for name in self._all() if name.endswith(SUFFIX)]
        return [name for name in names if number_of(name) > number_of(after)] if after else names

    def path(self, name: str) -> str:
        """Return the path of a part."""
        return f"{self.folder}/{name}"

    def read(self, name: str, columns: Sequence[str] | None = None, schema: pa.Schema | None = None) -> pa.Table:
        """Return the rows of a part, as `read_part`. Raises BrokenFile and FileNotFoundError."""
        return read_part(self.storage, self.path(name), columns, schema)

    def merge(self, names: Sequence[str], table: pa.Table) -> None:
        """Replace parts by one with `table`. It takes the last part's number: readers at that number have read all.

        If the process is killed, no row is lost: the new part exists before the old ones are deleted.
        """
        self.storage.write(self.path(part_name(number_of(names[-1]))), parquet_bytes(table))
        for name in names:
            with suppress(FileNotFoundError):  # another process merges the same parts
                self.storage.filesystem.delete_file(self.path(name))

    def _all(self) -> list[str]:
        """All parts, also renamed broken ones: their numbers were read and must not be reused."""
        paths = self.storage.files(self.folder, SUFFIX) + self.storage.files(self.folder, SUFFIX + BROKEN)
        return sorted((path.rpartition("/")[2] for path in paths), key=lambda name: (number_of(name), name))


def part_name(number: int) -> str:
    """Return a new name for a part with this number."""
    return f"part-{number:010}-{uuid.uuid4().hex[:8]}{SUFFIX}"


def number_of(name: str) -> int:
    """Return a part's number; 0 for an empty name and for files from before parts were numbered."""
    number = name.removeprefix("part-").partition("-")[0]
    return int(number) if number.isdecimal() and name.startswith("part-") else 0


def _broken(storage: Storage, path: str) -> BrokenFile | None:
    """The damage of a file, or None if all of it can be read. Raises OSError if the storage fails."""
    content = storage.read(path)
    if content is None:
        raise FileNotFoundError(path)
    try:
        pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        return BrokenFile(path, f"{len(content):,} bytes, not a valid Parquet file ({error})")
    return None

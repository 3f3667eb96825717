"""Parquet parts below the storage root: only ever added, checked when read, numbered where their order matters."""

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
    """A table as a Parquet file, each page with a checksum."""
    buffer = io.BytesIO()
    pq.write_table(table, buffer, compression="zstd", write_page_checksum=True)
    return buffer.getvalue()


def read_part(storage: Storage, path: str, columns: Sequence[str] | None = None) -> pa.Table:
    """The rows of one file. Raises BrokenFile for a damaged one, FileNotFoundError for a missing one."""
    wanted = None if columns is None else list(columns)
    try:
        return pq.read_table(
            path,
            filesystem=storage.filesystem,
            columns=wanted,
            partitioning=None,
            page_checksum_verification=True,
        )
    except FileNotFoundError:
        raise
    except (pa.ArrowInvalid, OSError) as error:
        raise _broken(storage, path) or error from error


def set_aside(storage: Storage, broken: BrokenFile) -> None:
    """Rename a broken file, so that reads pass it over and a person can still look at it; the log says so."""
    try:
        storage.filesystem.move(broken.path, f"{broken.path}{BROKEN}")
    except OSError:
        if storage.exists(broken.path):
            raise
        return  # another process was faster
    log.error("%s is broken and was set aside as %s%s: %s", broken.path, broken.path, BROKEN, broken.cause)


def broken_files(storage: Storage) -> Iterator[BrokenFile]:
    """Every damaged Parquet and JSON file of catalog, features, quarantine and releases. Reads all of them."""
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

    A part is complete once no part of its own or a higher number was there when it appeared. A reader who has read up
    to a number has therefore missed nothing below it, however many wrote at the same time.
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
            # Another process wrote at the same time and may have been read already: write again, with a higher number.

    def names(self, after: str = "") -> list[str]:
        """Names of the parts after one, in order; of all of them without one."""
        names = [name for name in self._all() if name.endswith(SUFFIX)]
        return [name for name in names if number_of(name) > number_of(after)] if after else names

    def path(self, name: str) -> str:
        """Where a part is."""
        return f"{self.folder}/{name}"

    def read(self, name: str, columns: Sequence[str] | None = None) -> pa.Table:
        """The rows of a part. Raises BrokenFile and FileNotFoundError."""
        return read_part(self.storage, self.path(name), columns)

    def merge(self, names: Sequence[str], table: pa.Table) -> None:
        """Replace parts by one that holds `table`. It takes the last one's number: a reader there has read it all.

        Killed at any point, no row is lost: the new part is there before the old ones go.
        """
        self.storage.write(self.path(part_name(number_of(names[-1]))), parquet_bytes(table))
        for name in names:
            with suppress(FileNotFoundError):  # another process merges the same parts
                self.storage.filesystem.delete_file(self.path(name))

    def _all(self) -> list[str]:
        """Also those set aside: their numbers were read and must not be given again."""
        paths = self.storage.files(self.folder, SUFFIX) + self.storage.files(self.folder, SUFFIX + BROKEN)
        return sorted((path.rpartition("/")[2] for path in paths), key=lambda name: (number_of(name), name))


def part_name(number: int) -> str:
    """A new name for a part of this number."""
    return f"part-{number:010}-{uuid.uuid4().hex[:8]}{SUFFIX}"


def number_of(name: str) -> int:
    """A part's number; 0 for no part and for files of before parts were numbered."""
    number = name.removeprefix("part-").partition("-")[0]
    return int(number) if number.isdecimal() and name.startswith("part-") else 0


def _broken(storage: Storage, path: str) -> BrokenFile | None:
    """What is wrong with a file's content; None when all of it can be read. Raises OSError when the storage fails."""
    content = storage.read(path)
    if content is None:
        raise FileNotFoundError(path)
    try:
        pq.read_table(io.BytesIO(content), page_checksum_verification=True)
    except (pa.ArrowException, OSError) as error:
        return BrokenFile(path, f"{len(content):,} bytes that are no whole Parquet file ({error})")
    return None

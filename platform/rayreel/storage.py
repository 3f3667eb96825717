"""The storage root for all state: a local folder or an object store."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO, cast

import pyarrow as pa
import pyarrow.fs as pafs

from rayreel.durable import replacing, sweep
from rayreel.errors import RayreelError


class BrokenFile(RayreelError):
    """A file below the storage root exists but cannot be read: empty, truncated or damaged."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        """Return path, cause and remedy."""
        remedy = "Run `rayreel index --verify`: it sets broken files aside and shows how to replace them."
        return f"{self.path} is broken: {self.cause}. {remedy}"


class Storage:
    """A storage root (`storage`, `/mnt/x`, `s3://bucket/prefix`), accessed through pyarrow's file systems.

    >>> storage = Storage("scratch")
    >>> path = storage.path("notes", "a.json")
    >>> storage.write(path, b'{"done": 3}')
    >>> storage.read_json(path), storage.read_json(storage.path("notes", "b.json"))
    ({'done': 3}, None)
    """

    def __init__(self, root: str | Path) -> None:
        self.root = str(root) if "://" in str(root) else str(Path(root).expanduser().resolve())
        try:
            self.filesystem, self._base = pafs.FileSystem.from_uri(self.root)
        except (pa.ArrowInvalid, OSError) as error:
            raise RayreelError(
                f"--storage {root}: {error}. Use a folder, s3://bucket/prefix or gs://bucket/prefix."
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether the root is a local or mounted folder."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def path(self, *parts: str) -> str:
        """Return a path below the root, for use with `filesystem`."""
        return "/".join((self._base, *parts))

    def uri(self, *parts: str) -> str:
        """Return a path below the root as a URI."""
        if self.is_local:
            return "/".join((self.root.rstrip("/"), *parts))
        root, mark, query = self.root.partition("?")  # s3://bucket/prefix?endpoint_override=…
        return "/".join((root.rstrip("/"), *parts)) + mark + query

    def local(self, *parts: str, what: str) -> Path:
        """Return a local folder below the root, for SQLite, Milvus Lite and weights. Raises RayreelError if remote."""
        if not self.is_local:
            raise RayreelError(f"{what} needs a local folder, but --storage is {self.root}")
        return Path(self._base, *parts)

    def write(self, path: str, content: bytes | memoryview) -> None:
        """Write a file durably and atomically: readers see the old or the new content. Raises StorageFull."""
        with self.writing(path, len(content)) as out:
            out.write(content)

    def write_expendable(self, path: str, content: bytes) -> None:
        """Write a file atomically without waiting for the disk: a power cut may lose or truncate it."""
        with self.writing(path, len(content), sync=False) as out:
            out.write(content)

    @contextmanager
    def writing(self, path: str, size: int = 0, *, sync: bool = True) -> Iterator[BinaryIO]:
        """Open a file for writing that appears, or replaces the old one, when the block ends without an error.

        `size`, if known, is the number of bytes that will be written. Raises StorageFull.
        """
        if self.is_local:
            with replacing(Path(path), size, sync=sync) as file:
                yield file
        else:  # in an object store an object appears only after its upload
            self.filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
            with self.filesystem.open_output_stream(path) as file:
                yield cast("BinaryIO", file)

    def read(self, path: str) -> bytes | None:
        """Return a file's content, or None if the file does not exist."""
        if not self.exists(path):
            return None
        with self.filesystem.open_input_stream(path) as file:
            return bytes(file.read())

    def read_json(self, path: str) -> dict[str, Any] | None:
        """Return a file's JSON object, or None if the file does not exist. Raises BrokenFile."""
        content = self.read(path)
        if content is None:
            return None
        try:
            return dict(json.loads(content))
        except ValueError as error:
            raise BrokenFile(path, f"{len(content):,} bytes, not a JSON object ({error})") from error

    def sweep(self) -> None:
        """Delete partial files of killed writers. In an object store unfinished uploads are never visible."""
        if self.is_local:
            sweep(Path(self._base))

    def exists(self, path: str) -> bool:
        """Whether a file or folder exists."""
        return bool(self.filesystem.get_file_info(path).type != pafs.FileType.NotFound)

    def files(self, folder: str, suffix: str) -> list[str]:
        """Return the files directly in a folder, sorted; none if the folder does not exist."""
        selector = pafs.FileSelector(folder, allow_not_found=True)
        return sorted(info.path for info in self.filesystem.get_file_info(selector) if info.path.endswith(suffix))

    def folders(self, folder: str) -> list[str]:
        """Return the names of the folders directly in a folder, sorted."""
        selector = pafs.FileSelector(folder, allow_not_found=True)
        entries = self.filesystem.get_file_info(selector)
        return sorted(entry.base_name for entry in entries if entry.type == pafs.FileType.Directory)

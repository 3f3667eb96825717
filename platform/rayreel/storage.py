"""The one place where state lives: a local folder or an object store."""

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
    """A file below the storage root is there and cannot be read: empty, cut off or damaged."""

    def __init__(self, path: str, cause: str) -> None:
        super().__init__(path, cause)
        self.path, self.cause = path, cause

    def __str__(self) -> str:
        """Where, what, and what to do."""
        remedy = "Run jobs/index.py --verify: it sets broken files aside and says how to replace them."
        return f"{self.path} is broken: {self.cause}. {remedy}"


class Storage:
    """A storage root (`storage`, `/mnt/x`, `s3://bucket/prefix`) seen through pyarrow's file systems."""

    def __init__(self, root: str | Path) -> None:
        self.root = str(root) if "://" in str(root) else str(Path(root).expanduser().resolve())
        try:
            self.filesystem, self._base = pafs.FileSystem.from_uri(self.root)
        except (pa.ArrowInvalid, OSError) as error:
            raise RayreelError(
                f"--storage {root}: {error}. Give a folder, s3://bucket/prefix or gs://bucket/prefix."
            ) from error

    @property
    def is_local(self) -> bool:
        """Whether the root is a folder on this machine or a mounted one."""
        return isinstance(self.filesystem, pafs.LocalFileSystem)

    def path(self, *parts: str) -> str:
        """A path below the root, for `filesystem`."""
        return "/".join((self._base, *parts))

    def uri(self, *parts: str) -> str:
        """A path below the root, for libraries that take URIs."""
        if self.is_local:
            return "/".join((self.root.rstrip("/"), *parts))
        root, mark, query = self.root.partition("?")  # s3://bucket/prefix?endpoint_override=…
        return "/".join((root.rstrip("/"), *parts)) + mark + query

    def local(self, *parts: str, what: str) -> Path:
        """A real folder below the root, for parts that need one (SQLite, Milvus Lite, weights)."""
        if not self.is_local:
            raise RayreelError(f"{what} needs a local folder, but --storage is {self.root}")
        return Path(self._base, *parts)

    def write(self, path: str, content: bytes | memoryview) -> None:
        """Write a whole file durably: readers see the old one or the new one, never a part. Raises StorageFull."""
        with self.writing(path, len(content)) as out:
            out.write(content)

    @contextmanager
    def writing(self, path: str, size: int = 0) -> Iterator[BinaryIO]:
        """Open a file for writing that appears, or replaces the old one, when the block ends without an error.

        `size`, if known, is the number of bytes to come. Raises StorageFull.
        """
        if self.is_local:
            with replacing(Path(path), size) as file:
                yield file
        else:  # an object store shows an object only when its upload has ended
            self.filesystem.create_dir(path.rsplit("/", 1)[0], recursive=True)
            with self.filesystem.open_output_stream(path) as file:
                yield cast("BinaryIO", file)

    def read(self, path: str) -> bytes | None:
        """A file's content, or None when there is none."""
        if not self.exists(path):
            return None
        with self.filesystem.open_input_stream(path) as file:
            return bytes(file.read())

    def read_json(self, path: str) -> dict[str, Any] | None:
        """A JSON object, or None when there is no file. Raises BrokenFile."""
        content = self.read(path)
        if content is None:
            return None
        try:
            return dict(json.loads(content))
        except ValueError as error:
            raise BrokenFile(path, f"{len(content):,} bytes that are no JSON object ({error})") from error

    def sweep(self) -> None:
        """Delete what killed writers left below the root. An object store keeps no unfinished uploads visible."""
        if self.is_local:
            sweep(Path(self._base))

    def exists(self, path: str) -> bool:
        """Whether a file or folder is there."""
        return bool(self.filesystem.get_file_info(path).type != pafs.FileType.NotFound)

    def files(self, folder: str, suffix: str) -> list[str]:
        """Files directly in a folder, sorted; none when there is no such folder."""
        selector = pafs.FileSelector(folder, allow_not_found=True)
        return sorted(info.path for info in self.filesystem.get_file_info(selector) if info.path.endswith(suffix))

    def folders(self, folder: str) -> list[str]:
        """Names of the folders directly in a folder, sorted."""
        selector = pafs.FileSelector(folder, allow_not_found=True)
        entries = self.filesystem.get_file_info(selector)
        return sorted(entry.base_name for entry in entries if entry.type == pafs.FileType.Directory)

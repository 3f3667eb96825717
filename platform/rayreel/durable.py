"""Durable local files: after a power cut or on a full disk, a file has the old or the new content, never a part."""

import errno
import fcntl
import os
import shutil
import sqlite3
import tempfile
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from rayreel.errors import RayreelError

PARTIAL = ".partial"
# A writer locks its file right after creating it.
_GRACE_S = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageFull(RayreelError):
    """The disk has too little free space for a write."""


@contextmanager
def replacing(path: Path, size: int = 0, *, sync: bool = True) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    On return, content and name are on disk, unless `sync` is False. After an error the new file is removed. `size` is
    the number of bytes that will be written, for the error message. Raises StorageFull.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        _make_folder(path.parent)
        with partial.open("xb") as file:
            _lock(file)  # until the file has its name: `sweep` deletes unlocked files
            yield file
            file.flush()
            if sync:
                os.fsync(file.fileno())
            partial.replace(path)
        if sync:
            _sync_folder(path.parent)
    except OSError as error:
        partial.unlink(missing_ok=True)
        if error.errno in _FULL:
            raise storage_full(path, size) from error
        raise
    except BaseException:
        partial.unlink(missing_ok=True)
        raise


def storage_full(path: Path, size: int = 0) -> StorageFull:
    """Return the error for a full disk, with path, free space and required space."""
    free = shutil.disk_usage(_existing(path)).free
    needed = f"{size:,} bytes are needed" if size else "more is needed"
    return StorageFull(
        f"{path}: the disk is full. {free:,} bytes are free, {needed}. Free some space, or choose another disk with "
        "--storage, then run the same command again: finished work is kept."
    )


def full_disk(error: BaseException) -> StorageFull | None:
    """Return a StorageFull if an error was caused by a full disk (ours, the system's or SQLite's), else None."""
    reason: BaseException | None = error
    seen: list[BaseException] = []
    while reason is not None and reason not in seen:
        seen.append(reason)
        if isinstance(reason, StorageFull):
            return reason
        if isinstance(reason, OSError) and reason.errno in _FULL:
            return storage_full(Path(reason.filename or tempfile.gettempdir()))
        if isinstance(reason, sqlite3.Error) and getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StorageFull(f"The disk of an SQLite database is full ({reason}). Free some space and try again.")
        reason = reason.__cause__ or reason.__context__ or getattr(reason, "cause", None)
    return None


def sweep(folder: Path) -> list[Path]:
    """Delete partial files of killed writers below a folder, but not files being written; return the deleted files."""
    swept = []
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _GRACE_S and _lock(file):
                path.unlink()
                swept.append(path)
    return swept


def _lock(file: BinaryIO) -> bool:
    """Lock a file until it is closed; False if another process has locked it or the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Create a folder and its parents, and sync their names to disk."""
    if not folder.is_dir():
        _make_folder(folder.parent)
        folder.mkdir(exist_ok=True)
        _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    except OSError as error:
        if error.errno != errno.EINVAL:  # some network file systems cannot sync a folder
            raise
    finally:
        os.close(descriptor)


def _existing(path: Path) -> Path:
    return next(folder for folder in path.absolute().parents if folder.exists())

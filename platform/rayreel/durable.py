"""Local files that survive a power cut and a full disk: the old content or the new one, never a part."""

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
# A writer locks its file right after making it.
_YOUNG_S = 5.0
_FULL = (errno.ENOSPC, errno.EDQUOT)


class StorageFull(RayreelError):
    """A disk has no room for what is to be written."""


@contextmanager
def replacing(path: Path, size: int = 0) -> Iterator[BinaryIO]:
    """Open a file for writing that replaces `path` when the block ends without an error.

    When this returns, content and name are on disk. After an error nothing is left of the new file. `size` is the
    number of bytes that will be written, for the message. Raises StorageFull.
    """
    partial = path.with_name(f"{path.name}.{uuid.uuid4().hex[:8]}{PARTIAL}")
    try:
        _make_folder(path.parent)
        with partial.open("xb") as file:
            _hold(file)  # until the file has its name: `sweep` deletes what nobody holds
            yield file
            file.flush()
            os.fsync(file.fileno())
            partial.replace(path)
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
    """The error for a disk that is full: which path, how much is free there, how much is needed."""
    free = shutil.disk_usage(_existing(path)).free
    needed = f"{size:,} bytes are needed" if size else "more is needed"
    return StorageFull(
        f"{path}: the disk is full. {free:,} bytes are free, {needed}. Free some space, or choose another disk with "
        "--storage, and run the same command again: what is finished is kept."
    )


def full_disk(error: BaseException) -> StorageFull | None:
    """The full disk that an error comes from, be it one of ours, the system's or SQLite's; None for other errors."""
    reason: BaseException | None = error
    seen: list[BaseException] = []
    while reason is not None and reason not in seen:
        seen.append(reason)
        if isinstance(reason, StorageFull):
            return reason
        if isinstance(reason, OSError) and reason.errno in _FULL:
            return storage_full(Path(reason.filename or tempfile.gettempdir()))
        if isinstance(reason, sqlite3.Error) and getattr(reason, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            return StorageFull(f"The disk of an SQLite database is full ({reason}). Free some space and run it again.")
        reason = reason.__cause__ or reason.__context__ or getattr(reason, "cause", None)
    return None


def sweep(folder: Path) -> list[Path]:
    """Delete what killed writers left below a folder; returns the files that went. Files being written stay."""
    swept = []
    for path in sorted(folder.rglob(f"*{PARTIAL}")):
        with suppress(FileNotFoundError), path.open("rb") as file:
            if time.time() - path.stat().st_mtime > _YOUNG_S and _hold(file):
                path.unlink()
                swept.append(path)
    return swept


def _hold(file: BinaryIO) -> bool:
    """Lock a file until it is closed; False where another process holds it or the file system has no locks."""
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _make_folder(folder: Path) -> None:
    """Make a folder and its parents, so that their names are on disk, too."""
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

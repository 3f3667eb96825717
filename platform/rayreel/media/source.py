"""An open video file. Decoding gets only this, so it never opens a file itself."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayreel.failures import Reason, Rejected

_PIECE_BYTES = 1 << 20
# If a pipe or a terminal replaces the file between check and open, it must not block or become our terminal.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class VideoFile:
    """A file object over an open descriptor. `size` is in bytes; `name` is for messages and format detection only.

    Reads with `pread` and makes no other system call.
    """

    def __init__(self, descriptor: int, name: str, size: int) -> None:
        self.descriptor, self.name, self.size = descriptor, name, size
        self._position = 0

    def head(self, count: int) -> bytes:
        """Return the first bytes of the file without moving the position."""
        return os.pread(self.descriptor, count, 0)

    def read(self, count: int) -> bytes:
        """Read up to `count` bytes from the current position; empty at the end."""
        piece = os.pread(self.descriptor, count, self._position)
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move the position, as `io.RawIOBase.seek` does."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("seek before the start of the file")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """Return the current position, bytes."""
        return self._position

    def sha256(self, check: Callable[[], None]) -> str:
        """Return the content's SHA-256, hex. `check` is called after each piece and may raise to stop."""
        digest, position, piece = hashlib.sha256(), 0, bytearray(_PIECE_BYTES)
        while count := os.preadv(self.descriptor, [piece], position):
            digest.update(memoryview(piece)[:count])
            position += count
            check()
        return digest.hexdigest()


@contextmanager
def open_file(path: Path) -> Iterator[VideoFile | Rejected]:
    """Open a regular file for the duration of the block, or yield the reason why it cannot be opened."""
    try:
        descriptor = os.open(path, _FLAGS)
    except FileNotFoundError:
        yield Rejected(Reason.MISSING_FILE, f"{path}: no such file")
        return
    except (OSError, ValueError) as error:
        yield Rejected(Reason.UNREADABLE, f"{path}: {getattr(error, 'strerror', None) or error}")
        return
    try:
        status = os.fstat(descriptor)
        if stat.S_ISREG(status.st_mode):
            yield VideoFile(descriptor, path.name, status.st_size)
        else:
            yield Rejected(Reason.UNREADABLE, f"{path}: not a regular file")
    finally:
        os.close(descriptor)

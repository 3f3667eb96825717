"""An open video file: all that decoding gets, so that it opens nothing itself."""

import hashlib
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from rayreel.failures import Reason, Rejected

_PIECE_BYTES = 1 << 20
# A pipe or a terminal that takes the file's place between check and opening must not block or become our terminal.
_FLAGS = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK | os.O_NOCTTY


class VideoFile:
    """A file object over a descriptor that somebody else opened; `name` is for messages and format guesses only.

    Reads by position and knows its size, bytes: nothing but `pread` is asked of the system.
    """

    def __init__(self, descriptor: int, name: str, size: int) -> None:
        self.descriptor, self.name, self.size = descriptor, name, size
        self._position = 0

    def head(self, count: int) -> bytes:
        """The first bytes of the file, wherever its reader is."""
        return os.pread(self.descriptor, count, 0)

    def read(self, count: int) -> bytes:
        """Up to `count` bytes from here on; empty at the end."""
        piece = os.pread(self.descriptor, count, self._position)
        self._position += len(piece)
        return piece

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        """Move, as `io.RawIOBase.seek` does."""
        start = {os.SEEK_SET: 0, os.SEEK_CUR: self._position, os.SEEK_END: self.size}[whence]
        if start + offset < 0:
            raise ValueError("seek before the start of the file")
        self._position = start + offset
        return self._position

    def tell(self) -> int:
        """The current position, bytes."""
        return self._position

    def sha256(self, check: Callable[[], None]) -> str:
        """The content's hash, hex. `check` is called for every piece read, to raise once the time is over."""
        digest, position, piece = hashlib.sha256(), 0, bytearray(_PIECE_BYTES)
        while count := os.preadv(self.descriptor, [piece], position):
            digest.update(memoryview(piece)[:count])
            position += count
            check()
        return digest.hexdigest()


@contextmanager
def open_file(path: Path) -> Iterator[VideoFile | Rejected]:
    """Open a regular file for the time of the block, or say why not."""
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

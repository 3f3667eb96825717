"""Size limits of files. Bytes are counted as they arrive, because declared sizes cannot be trusted."""

import io
from typing import IO


class TooLarge(ValueError):
    """A file exceeds a size limit. A ValueError, so it is not retried."""


class Bounds:
    """Checks the bytes and line lengths of a file against limits as the file is read.

    `setting` is the name of the setting with `max_bytes`, for errors. Without `max_line_bytes`, lines may have any
    length.
    """

    def __init__(self, max_bytes: int, setting: str, max_line_bytes: int | None = None) -> None:
        self.max_bytes, self.setting, self.max_line_bytes = max_bytes, setting, max_line_bytes
        self.count, self._line = 0, 0

    @property
    def remaining(self) -> int:
        """Bytes left before the limit. Read one more to find out whether the file is larger."""
        return self.max_bytes - self.count

    def check_declared(self, size: int | None) -> None:
        """Raise TooLarge if a declared size exceeds the limit."""
        if size is not None and size > self.max_bytes:
            raise TooLarge(f"it has {size:,} bytes, the limit is {self.max_bytes:,} {self._remedy()}")

    def add(self, piece: bytes) -> None:
        """Count a piece. Raises TooLarge if it exceeds a limit."""
        self.count += len(piece)
        if self.count > self.max_bytes:
            raise TooLarge(f"it has more than {self.max_bytes:,} bytes {self._remedy()}")
        if self.max_line_bytes is not None:
            self._add_lines(piece, self.max_line_bytes)

    def reset(self) -> None:
        """Start from zero, for another attempt."""
        self.count, self._line = 0, 0

    def _add_lines(self, piece: bytes, max_bytes: int) -> None:
        """Measure the lines that cross a boundary between blocks of `max_bytes`; any other line is short enough."""
        for start in range(0, len(piece), max_bytes):
            block = piece[start : start + max_bytes]
            # A lone \r, as old programs write it, ends a line too.
            ends = [at for at in (block.find(b"\n"), block.find(b"\r")) if at >= 0]
            self._line += min(ends, default=len(block))
            if self._line > max_bytes:
                raise TooLarge(
                    f"it has a line longer than {max_bytes:,} bytes (limits.max_catalog_line_bytes). Raise the limit "
                    "or write one row per line"
                )
            if ends:
                self._line = len(block) - 1 - max(block.rfind(b"\n"), block.rfind(b"\r"))

    def _remedy(self) -> str:
        return f"({self.setting}). Raise the limit or split the file"


class BoundedReader(io.RawIOBase):
    """A raw reader of an open file that checks `bounds`; wrap it in io.BufferedReader and io.TextIOWrapper."""

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._file, self._bounds = file, bounds

    def readable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read at most as many bytes as the buffer holds. Raises TooLarge."""
        piece = self._file.read(len(buffer))
        self._bounds.add(piece)
        buffer[: len(piece)] = piece
        return len(piece)

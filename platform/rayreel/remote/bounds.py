"""How much of a file is taken: counted as it arrives, never believed."""

import io
from typing import IO


class TooLarge(ValueError):
    """More bytes than a limit, declared or counted; a ValueError, which another try does not mend."""


class Bounds:
    """Counts the bytes of one file, and those of the line it is in, against limits.

    `setting` is the name of the setting that holds `max_bytes`; without `max_line_bytes` lines may have any length.
    """

    def __init__(self, max_bytes: int, setting: str, max_line_bytes: int | None = None) -> None:
        self.max_bytes, self.setting, self.max_line_bytes = max_bytes, setting, max_line_bytes
        self.taken, self._line = 0, 0

    @property
    def room(self) -> int:
        """Bytes that may still come; asking for one more shows whether there are more."""
        return self.max_bytes - self.taken

    def declare(self, size: int | None) -> None:
        """Raise TooLarge for a declared size over the limit."""
        if size is not None and size > self.max_bytes:
            raise TooLarge(f"it has {size:,} bytes, {self._more_than()}")

    def take(self, piece: bytes) -> None:
        """Count a piece. Raises TooLarge."""
        self.taken += len(piece)
        if self.taken > self.max_bytes:
            raise TooLarge(f"it has more bytes, {self._more_than()}")
        if self.max_line_bytes is not None:
            self._take_lines(piece, self.max_line_bytes)

    def again(self) -> None:
        """Start from zero, for another try."""
        self.taken, self._line = 0, 0

    def _take_lines(self, piece: bytes, most: int) -> None:
        """Measure the lines that start before a part or reach beyond it; those within one are short enough."""
        for start in range(0, len(piece), most):
            part = piece[start : start + most]
            # \r alone ends a line, too, where old programs write it.
            ends = [at for at in (part.find(b"\n"), part.find(b"\r")) if at >= 0]
            self._line += min(ends, default=len(part))
            if self._line > most:
                raise TooLarge(
                    f"it has a line longer than {most:,} bytes (limits.max_catalog_line_bytes). Raise the limit or "
                    "write one row per line"
                )
            if ends:
                self._line = len(part) - 1 - max(part.rfind(b"\n"), part.rfind(b"\r"))

    def _more_than(self) -> str:
        return f"more than the {self.max_bytes:,} of {self.setting}. Raise the limit or split the file"


class BoundedReader(io.RawIOBase):
    """An open file, read within bounds; for io.BufferedReader and io.TextIOWrapper on top."""

    def __init__(self, file: IO[bytes], bounds: Bounds) -> None:
        self._file, self._bounds = file, bounds

    def readable(self) -> bool:
        """Yes."""
        return True

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read at most as much as the buffer holds. Raises TooLarge."""
        piece = self._file.read(len(buffer))
        self._bounds.take(piece)
        buffer[: len(piece)] = piece
        return len(piece)

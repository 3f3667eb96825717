"""Partial downloads, and the range requests that resume them."""

import fcntl
import re
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx

from rayreel.errors import RayreelError

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class PartTaken(RayreelError):
    """Another process is downloading the same file."""


class Part:
    """A partial download `<name>.part`; `<name>.part.tag` is the version (ETag or date) of the remote file.

    Only one process can open it at a time. Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
    """

    def __init__(self, whole: Path) -> None:
        """Open or create the partial file of `whole`, the path of the complete file. Raises PartTaken."""
        self.whole = whole
        self.path, self._tag = (whole.with_name(whole.name + suffix) for suffix in (".part", ".part.tag"))
        self.resumed = False
        """Whether the content comes from more than one response."""
        self._file = self.path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise PartTaken(f"{self.path} is in use by another process. Wait until it has finished.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.length:
            self.path.unlink(missing_ok=True)
            self._tag.unlink(missing_ok=True)
        self._file.close()

    @property
    def length(self) -> int:
        """Bytes downloaded so far."""
        return self._file.tell()

    def range_headers(self, *, checked: bool) -> dict[str, str]:
        """Return the headers that request the rest of the file, or none to request it from the start.

        Resuming needs a known version of the remote file or, with `checked`, a sha256 that the whole is checked with.
        """
        tag = self._tag.read_text() if self._tag.exists() else ""
        if not self.length or not (tag or checked):
            return {}
        return {"Range": f"bytes={self.length}-"} | ({"If-Range": tag} if tag else {})

    def begin(self, response: httpx.Response) -> int | None:
        """Prepare for a response's body and return the length of the whole file, or None if the server omits it.

        A response with the whole file discards the partial content. Raises RemoteProtocolError if the response is
        neither the whole file nor the requested range; the next attempt then starts from zero.
        """
        if response.status_code == HTTPStatus.OK:
            self.clear()
            self._tag.write_text(_validator(response))
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
        found = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        # 416 has no start: the request began at the end of the file, so the partial file is already complete.
        start, total = (int(found[1] or found[2]), int(found[2])) if found else (-1, 0)
        if start != self.length:
            self.clear()
            raise httpx.RemoteProtocolError(f"HTTP {response.status_code} to a request for the rest of the file")
        self.resumed = True
        return total

    def write(self, piece: bytes) -> None:
        """Append bytes."""
        self._file.write(piece)

    def flush(self) -> None:
        """Flush buffered bytes to the file."""
        self._file.flush()

    def clear(self) -> None:
        """Discard the content and start from zero."""
        self._file.seek(0)
        self._file.truncate()
        self.resumed = False

    def finish(self) -> None:
        """Rename the complete file to its final name."""
        self.flush()
        self.path.rename(self.whole)
        self._tag.unlink(missing_ok=True)


def _validator(response: httpx.Response) -> str:
    """Return a value for If-Range: a strong ETag or a date. A weak ETag does not identify the exact bytes."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))

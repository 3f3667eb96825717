"""The part of a file that has been downloaded so far, and how a server is asked for the rest."""

import fcntl
import re
from http import HTTPStatus
from pathlib import Path
from typing import Self

import httpx

from rayreel.errors import RayreelError

_RANGE = re.compile(r"bytes (?:(\d+)-\d+|\*)/(\d+)")


class PartTaken(RayreelError):
    """Another process downloads the same file to the same place."""


class Part:
    """`<name>.part`, and beside it `<name>.part.tag`: which version of the remote file it belongs to.

    Open for one process at a time. Source: RFC 9110, sections 13.1.5 (If-Range) and 14 (ranges).
    """

    def __init__(self, whole: Path) -> None:
        """`whole` is the path of the file once it is whole. Raises PartTaken."""
        self.whole = whole
        self.path, self._tag = (whole.with_name(whole.name + suffix) for suffix in (".part", ".part.tag"))
        self.pieced = False
        """Whether it comes from more than one answer."""
        self._file = self.path.open("ab")
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            self._file.close()
            raise PartTaken(f"{self.path} is being written by another process. Wait until it has ended.") from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if not self.length:
            self.path.unlink(missing_ok=True)
            self._tag.unlink(missing_ok=True)
        self._file.close()

    @property
    def length(self) -> int:
        """Bytes so far."""
        return self._file.tell()

    def ask(self, *, checked: bool) -> dict[str, str]:
        """Headers that ask for the rest, where it is sure to fit or, `checked`, the whole has a known sha256."""
        tag = self._tag.read_text() if self._tag.exists() else ""
        if not self.length or not (tag or checked):
            return {}
        return {"Range": f"bytes={self.length}-"} | ({"If-Range": tag} if tag else {})

    def place(self, response: httpx.Response) -> int | None:
        """Make ready for an answer's body and return the whole file's length, None where the site does not tell it.

        The whole file clears what is there. Raises RemoteProtocolError where the answer is neither the whole nor the
        range asked for; the next try then starts from zero.
        """
        if response.status_code == HTTPStatus.OK:
            self.clear()
            self._tag.write_text(_validator(response))
            length = response.headers.get("Content-Length", "")
            return int(length) if length.isdigit() else None
        given = _RANGE.fullmatch(response.headers.get("Content-Range", ""))
        # 416 names no start: there is nothing behind the end, which is where a whole part stands.
        start, total = (int(given[1] or given[2]), int(given[2])) if given else (-1, 0)
        if start != self.length:
            self.clear()
            raise httpx.RemoteProtocolError(f"HTTP {response.status_code} to a request for the rest of the file")
        self.pieced = True
        return total

    def write(self, piece: bytes) -> None:
        """Append."""
        self._file.write(piece)

    def flush(self) -> None:
        """Let others read what was written."""
        self._file.flush()

    def clear(self) -> None:
        """Start from zero."""
        self._file.seek(0)
        self._file.truncate()
        self.pieced = False

    def finish(self) -> None:
        """Give the file its name."""
        self.flush()
        self.path.rename(self.whole)
        self._tag.unlink(missing_ok=True)


def _validator(response: httpx.Response) -> str:
    """What If-Range may hold: a strong ETag or a date. A weak ETag stands for more than one sequence of bytes."""
    tag: str = response.headers.get("ETag", "")
    return tag if tag and not tag.startswith("W/") else str(response.headers.get("Last-Modified", ""))

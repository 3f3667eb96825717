"""Read members of a remote zip file by byte ranges, without downloading the rest of it."""

import io
import zipfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from remotezip import PartialBuffer, RemoteZip
from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential_jitter

from rayreel.deadline import Deadline
from rayreel.redact import redacted
from rayreel.remote.address import parse_address
from rayreel.remote.bounds import Bounds
from rayreel.remote.config import ReadLimits
from rayreel.remote.copy import failure, is_retryable
from rayreel.remote.http import BadRange, get

SCHEMES = ("https", "http")
_ATTEMPTS, _PAUSE_S = 4, 0.5


class RangeFailed(Exception):
    """A range could not be read. Not an OSError, which zipfile would report as a damaged file."""


@dataclass
class RangeReader:
    """Reads ranges of one remote file. All of them must be of a file of one size, `size` if it is published.

    remotezip's fetcher: it replaces requests, which connects to any address. A range is read into memory, at most
    `bounds.max_bytes`, because the file itself says how long its directory and its members are.
    """

    uri: str
    limits: ReadLimits
    bounds: Bounds
    size: int | None = None

    def fetch(self, data_range: tuple[int, int | None], stream: bool = False) -> PartialBuffer:
        """Return the bytes from first to last or, if last is None, the last -first bytes. Raises RangeFailed."""
        retrying = Retrying(
            stop=stop_after_attempt(_ATTEMPTS),
            wait=wait_exponential_jitter(_PAUSE_S, 10, jitter=_PAUSE_S),
            retry=retry_if_exception(is_retryable),
            reraise=True,
        )
        try:
            start, content = retrying(self._read, *data_range)
        except Exception as error:
            raise RangeFailed(failure(redacted(self.uri), error).detail) from error
        return PartialBuffer(io.BytesIO(content), start, len(content), stream=False)

    def _read(self, first: int, last: int | None) -> tuple[int, bytes]:
        self.bounds.check_declared(-first if last is None else last - first + 1)
        self.bounds.reset()
        wanted = f"bytes={first}" if last is None else f"bytes={first}-{last}"
        deadline, content = Deadline(self.limits.download_timeout_s), bytearray()
        with get(parse_address(self.uri), self.limits, SCHEMES, deadline, part=wanted) as response:
            start, end, size = response.part()
            if last is not None and start != first:
                raise BadRange("the server sent another part of the file")
            if self.size not in {None, size}:
                raise BadRange(f"the file has {size:,} bytes, expected {self.size:,}")
            for piece in response.pieces():
                self.bounds.add(piece)
                content += piece
                deadline.check()
        if len(content) != end - start + 1:
            raise ConnectionError("the response is shorter or longer than it says")
        self.size = size
        return start, bytes(content)


@contextmanager
def open_zip(reader: RangeReader) -> Iterator[zipfile.ZipFile]:
    """Open a remote zip file. Raises RangeFailed, now and when members are read, and zipfile's exceptions."""
    with RemoteZip(reader.uri, fetcher=lambda *_args, **_options: reader) as archive:
        yield archive

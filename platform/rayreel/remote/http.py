"""A GET request that connects only to checked addresses; the target of every redirect is checked like the first URL.

httpcore does not follow redirects, decode bodies or rewrite hosts, so the address that is checked is the address that
is requested. Only the `Location` header redirects; `URI` and `Refresh` are ignored.
"""

import base64
import re
import ssl
import zlib
from collections.abc import Collection, Iterable, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit
from urllib.request import getproxies, proxy_bypass

import httpcore

from rayreel.deadline import Deadline
from rayreel.remote.address import Address, BadAddress, parse_address
from rayreel.remote.config import ReadLimits
from rayreel.remote.hosts import HostNotAllowed, check_address, resolve

_REDIRECTS, _MAX_REDIRECTS = {301, 302, 303, 307, 308}, 5
_CONNECT_S, _READ_S = 10.0, 30.0
_PIECE_BYTES = 1 << 20
_GONE = {404, 410}
_CONTENT_RANGE = re.compile(r"bytes (\d+)-(\d+)/(\d+)")


class HttpStatus(Exception):
    """The server responded with an error status."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class BadRange(ValueError):
    """The server did not send the requested part of a file. A ValueError, so it is not retried."""


class HttpResponse:
    """A response with a file, or a part of it, as its body. `size` is the declared number of bytes, or None."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self._encoding = (_header(response, b"content-encoding") or "identity").lower()
        length = _header(response, b"content-length") or ""
        self.size = int(length) if length.isdigit() and self._encoding == "identity" else None

    def pieces(self) -> Iterator[bytes]:
        """Iterate over the body; decompresses gzip, which some servers send without being asked to."""
        if self._encoding == "identity":
            return self._response.iter_stream()
        if self._encoding not in {"gzip", "x-gzip"}:
            raise ConnectionError(f"unsupported Content-Encoding {self._encoding[:20]!r}")
        return _decompressed(self._response.iter_stream())

    def part(self) -> tuple[int, int, int]:
        """Return the first and the last byte of a partial response, and the whole file's size. Raises BadRange."""
        found = _CONTENT_RANGE.fullmatch(_header(self._response, b"content-range") or "")
        if found is None or self._encoding != "identity":
            raise BadRange("the server does not say which bytes it sends")
        return int(found[1]), int(found[2]), int(found[3])


@contextmanager
def get(
    address: Address, limits: ReadLimits, schemes: Collection[str], deadline: Deadline, *, part: str = ""
) -> Iterator[HttpResponse]:
    """Request a file, or the `part` of it that a Range header such as bytes=0-99 names.

    Raises HostNotAllowed, BadAddress, FileNotFoundError, HttpStatus, BadRange and httpcore's exceptions.
    """
    first = address
    for _ in range(_MAX_REDIRECTS + 1):
        check_address(address, limits)
        with _pool(address, limits, deadline) as pool, pool.stream(**_request(address, first, part)) as response:
            if response.status not in _REDIRECTS:
                yield _checked(response, part)
                return
            address = _redirect_target(address, response, schemes)
    raise BadAddress(f"more than {_MAX_REDIRECTS} redirects")


def _request(address: Address, first: Address, part: str) -> dict[str, Any]:
    # The size of a compressed body is unknown in advance.
    headers = [("Host", address.netloc), ("Accept-Encoding", "identity"), ("User-Agent", "rayreel")]
    headers += [("Range", part)] if part else []
    if first.credentials and address.origin == first.origin:
        login = base64.b64encode(unquote(first.credentials).encode()).decode()
        headers.append(("Authorization", f"Basic {login}"))
    url = httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target)
    timeout = {"connect": _CONNECT_S, "read": _READ_S, "write": _READ_S, "pool": _CONNECT_S}
    return {"method": "GET", "url": url, "headers": headers, "extensions": {"timeout": timeout}}


def _checked(response: httpcore.Response, part: str) -> HttpResponse:
    if response.status in _GONE:
        raise FileNotFoundError(response.status)
    if part and response.status == 200:
        raise BadRange("the server does not support range requests")
    if response.status != (206 if part else 200):
        raise HttpStatus(response.status)
    return HttpResponse(response)


def _redirect_target(address: Address, response: httpcore.Response, schemes: Collection[str]) -> Address:
    """Return the target of a redirect. Raises HostNotAllowed or BadAddress if it is not allowed."""
    location = _header(response, b"location")
    if not location or "\\" in location or not location.isascii():
        raise BadAddress("redirected to an invalid URL")
    target = parse_address(urljoin(address.url, location.strip(" ")))
    # From http to https is allowed, but not the reverse, and not to a bucket.
    if target.scheme not in schemes or target.scheme not in {address.scheme, "https"}:
        raise HostNotAllowed(f"redirected from {address.scheme}:// to {target.scheme}://")
    if target.credentials:
        raise BadAddress("redirected to a URL with credentials")
    return target


def _header(response: httpcore.Response, name: bytes) -> str | None:
    """Return a header's value, or None if it is absent. Raises ConnectionError if it has several different values."""
    values = [value for key, value in response.headers if key.lower() == name]
    if len(set(values)) > 1:
        raise ConnectionError(f"the response has several {name.decode()} headers")
    return values[0].decode("latin-1").strip() if values else None


def _decompressed(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Decompress gzip at most one megabyte at a time, so that a zip bomb is detected before it is written."""
    gzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        pending = piece
        while pending:
            yield gzip.decompress(pending, _PIECE_BYTES)
            pending = gzip.unconsumed_tail
    yield gzip.flush()
    if not gzip.eof or gzip.unused_data:
        raise ConnectionError("the compressed response is incomplete or has trailing data")


def _pool(address: Address, limits: ReadLimits, deadline: Deadline) -> httpcore.ConnectionPool:
    proxy = getproxies().get(address.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(address.host):
        backend = _Backend(limits.allowed_hosts, deadline)
        return httpcore.ConnectionPool(ssl_context=ssl_context(), network_backend=backend)
    # The proxy is configured on this machine and may have a private address. It decides which hosts it connects to.
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    url, backend = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", _Backend([parts.hostname or ""], deadline)
    return httpcore.HTTPProxy(url, proxy_auth=login, ssl_context=ssl_context(), network_backend=backend)


@cache
def ssl_context() -> ssl.SSLContext:
    """Return a context with the machine's certificate authorities, or those in SSL_CERT_FILE and SSL_CERT_DIR."""
    return ssl.create_default_context()


class _Backend(httpcore.NetworkBackend):
    """Connects only to addresses that `allowed` permits, before the deadline. Resolves each name only once."""

    def __init__(self, allowed: Sequence[str], deadline: Deadline) -> None:
        self._allowed, self._deadline, self._plain = allowed, deadline, httpcore.SyncBackend()

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        *others, last = resolve(host, port, self._allowed)
        for ip in others:
            try:
                return self._connect(ip, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, timeout)

    def _connect(self, ip: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return _Stream(self._plain.connect_tcp(ip, port, self._deadline.within(timeout)), self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection with a deadline for all operations together, so that slow trickles of data end too."""

    def __init__(self, stream: httpcore.NetworkStream, deadline: Deadline) -> None:
        self._stream, self._deadline = stream, deadline

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:
        return self._stream.read(max_bytes, self._deadline.within(timeout))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:
        self._stream.write(buffer, self._deadline.within(timeout))

    def close(self) -> None:
        self._stream.close()

    def start_tls(
        self, ssl_context: ssl.SSLContext, server_hostname: str | None = None, timeout: float | None = None
    ) -> httpcore.NetworkStream:
        stream = self._stream.start_tls(ssl_context, server_hostname, self._deadline.within(timeout))
        return _Stream(stream, self._deadline)

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's
        return self._stream.get_extra_info(info)

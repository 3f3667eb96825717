"""One GET that connects to the address that was checked, and follows a redirect only to where it could have started.

httpcore follows nothing by itself, decodes nothing and takes a host as it is given: what is checked here is what is
asked. A redirect is a `Location` header and nothing else; `URI` and `Refresh` lead nowhere.
"""

import base64
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
from rayreel.remote.hosts import HostNotAllowed, check_address, places

_REDIRECTS, _MOST_REDIRECTS = {301, 302, 303, 307, 308}, 5
_CONNECT_S, _SILENCE_S = 10.0, 30.0
_PIECE_BYTES = 1 << 20
_GONE = {404, 410}


class HttpStatus(Exception):
    """An answer that is not the file."""

    def __init__(self, status: int) -> None:
        super().__init__(f"HTTP {status}")
        self.status = status


class HttpResponse:
    """The body of a file as it arrives; `size` is what the server declares, bytes."""

    def __init__(self, response: httpcore.Response) -> None:
        self._response = response
        self._packed = (_header(response, b"content-encoding") or "identity").lower()
        length = _header(response, b"content-length") or ""
        self.size = int(length) if length.isdigit() and self._packed == "identity" else None

    def pieces(self) -> Iterator[bytes]:
        """The content, in pieces of at most a megabyte, also where the server compressed it unasked."""
        if self._packed == "identity":
            return self._response.iter_stream()
        if self._packed not in {"gzip", "x-gzip"}:
            raise ConnectionError(f"the server compresses with {self._packed[:20]!r}")
        return _unpacked(self._response.iter_stream())


@contextmanager
def get(address: Address, limits: ReadLimits, schemes: Collection[str], deadline: Deadline) -> Iterator[HttpResponse]:
    """Ask for a file. Raises HostNotAllowed, BadAddress, FileNotFoundError, HttpStatus and what httpcore raises."""
    first = address
    for _ in range(_MOST_REDIRECTS + 1):
        check_address(address, limits)
        with _pool(address, limits, deadline) as pool, pool.stream(**_request(address, first)) as response:
            if response.status not in _REDIRECTS:
                yield _checked(response)
                return
            address = _target(address, response, schemes)
    raise BadAddress(f"more than {_MOST_REDIRECTS} redirects")


def _request(address: Address, first: Address) -> dict[str, Any]:
    # Compressed answers would hide the true size.
    headers = [("Host", address.netloc), ("Accept-Encoding", "identity"), ("User-Agent", "rayreel")]
    if first.credentials and address.origin == first.origin:
        login = base64.b64encode(unquote(first.credentials).encode()).decode()
        headers.append(("Authorization", f"Basic {login}"))
    url = httpcore.URL(scheme=address.scheme, host=address.host, port=address.port, target=address.target)
    waits = {"connect": _CONNECT_S, "read": _SILENCE_S, "write": _SILENCE_S, "pool": _CONNECT_S}
    return {"method": "GET", "url": url, "headers": headers, "extensions": {"timeout": waits}}


def _checked(response: httpcore.Response) -> HttpResponse:
    if response.status in _GONE:
        raise FileNotFoundError(response.status)
    if response.status != 200:
        raise HttpStatus(response.status)
    return HttpResponse(response)


def _target(address: Address, response: httpcore.Response, schemes: Collection[str]) -> Address:
    """Where a redirect leads. Raises HostNotAllowed where no address from outside could lead there."""
    location = _header(response, b"location")
    if not location or "\\" in location or not location.isascii():
        raise BadAddress("redirected to no plain address")
    target = parse_address(urljoin(address.url, location.strip(" ")))
    # Up from http to https, never down, and into no bucket.
    if target.scheme not in schemes or target.scheme not in {address.scheme, "https"}:
        raise HostNotAllowed(f"redirected from {address.scheme}:// to {target.scheme}://")
    if target.credentials:
        raise BadAddress("redirected to an address with a user name")
    return target


def _header(response: httpcore.Response, name: bytes) -> str | None:
    """A header's value; None where it is absent. One that is there twice could be read in two ways."""
    values = [value for key, value in response.headers if key.lower() == name]
    if len(set(values)) > 1:
        raise ConnectionError(f"the header {name.decode()} came twice")
    return values[0].decode("latin-1").strip() if values else None


def _unpacked(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Undo gzip, never more than a megabyte at a time: a bomb is counted before it is written."""
    unzip = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
    for piece in pieces:
        waiting = piece
        while waiting:
            yield unzip.decompress(waiting, _PIECE_BYTES)
            waiting = unzip.unconsumed_tail
    yield unzip.flush()
    if not unzip.eof or unzip.unused_data:
        raise ConnectionError("the compressed answer is not whole")


def _pool(address: Address, limits: ReadLimits, deadline: Deadline) -> httpcore.ConnectionPool:
    proxy = getproxies().get(address.scheme) or getproxies().get("all")
    if not proxy or proxy_bypass(address.host):
        return httpcore.ConnectionPool(ssl_context=trusted(), network_backend=_Backend(limits.allowed_hosts, deadline))
    # The proxy of this machine's own settings may be anywhere; where it leads is its rules' affair.
    parts = urlsplit(proxy if "://" in proxy else f"http://{proxy}")
    login = (unquote(parts.username), unquote(parts.password or "")) if parts.username else None
    place, backend = f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}", _Backend([parts.hostname or ""], deadline)
    return httpcore.HTTPProxy(place, proxy_auth=login, ssl_context=trusted(), network_backend=backend)


@cache
def trusted() -> ssl.SSLContext:
    """The certificate authorities that this machine trusts, as SSL_CERT_FILE and SSL_CERT_DIR name them."""
    return ssl.create_default_context()


class _Backend(httpcore.NetworkBackend):
    """Connects to an address of a host that `allowed` lets in, before the deadline; resolves its name once."""

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
        *others, last = places(host, port, self._allowed)
        for place in others:
            try:
                return self._connect(place, port, timeout)
            except (httpcore.ConnectError, httpcore.ConnectTimeout):
                continue
        return self._connect(last, port, timeout)

    def _connect(self, place: str, port: int, timeout: float | None) -> httpcore.NetworkStream:
        return _Stream(self._plain.connect_tcp(place, port, self._deadline.within(timeout)), self._deadline)


class _Stream(httpcore.NetworkStream):
    """A connection on which all waiting together ends at the deadline, however small the pieces are that come."""

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

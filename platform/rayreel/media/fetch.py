"""A video's bytes on this machine's disk, wherever they live."""

import os
import stat
import tempfile
import time
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_exponential_jitter

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.source import is_remote, local_path, suffix
from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits
from rayreel.media.hosts import HostNotAllowed, check_addresses, check_host, guarded_session
from rayreel.media.open import Deadline

FOREIGN_SCHEMES = ("https", "s3", "gs")
# memory:// holds only what this very process put there.
SCHEMES = (*FOREIGN_SCHEMES, "memory")
_NO_ROOTS = Rejected(
    Reason.PATH_NOT_ALLOWED, "of this machine's files only those in limits.allowed_roots may be read from outside"
)
_PIECE_BYTES = 1 << 20
_CONNECT_S, _SILENCE_S, _WALL_S = 10, 30, 900
_TOO_MANY_REQUESTS = 429
# What another try will not mend.
_LASTING = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError, TypeError)


class _TooLargeError(ValueError):
    """More bytes than the limit, declared or counted."""


@contextmanager
def local_copy(
    uri: str,
    limits: Limits,
    allowed_roots: Sequence[Path] = (),
    schemes: Collection[str] = SCHEMES,
    seconds: float = _WALL_S,
) -> Iterator[Path | Rejected]:
    """A local path with the content of `uri`; a remote one is copied to a temporary file for the time of the block.

    Copying, with all tries of it, takes no longer than `seconds`.

    Only hosts of `limits.allowed_hosts` are asked. A local path must be a regular file. With `allowed_roots` it must
    also lie under one of them once every symbolic link is followed; the path given is then the followed one. Details
    name no credentials and no query string.
    """
    if not is_remote(uri):
        yield _local(uri, allowed_roots)
    elif (scheme := _scheme(uri)) not in schemes:
        yield Rejected(Reason.PATH_NOT_ALLOWED, f"{scheme}:// is not one of {', '.join(schemes)}")
    else:
        with tempfile.NamedTemporaryFile(prefix="rayreel-", suffix=suffix(uri)[:8]) as file:
            problem = _download(uri, Path(file.name), limits, "http" not in schemes, seconds)
            yield problem or Path(file.name)


def refuse_foreign(uri: str, limits: Limits) -> Rejected | None:
    """Why a video's or a catalog's address from outside may not be read; None where it may. Asks the name server."""
    if not is_remote(uri):
        inside = _local(uri, limits.allowed_roots or (Path(os.devnull),), regular=False)
        return _NO_ROOTS if isinstance(inside, Rejected) else None
    # Catalogs are opened by libraries that unwrap chains such as zip://*::file:///etc/x.
    if "::" in uri or _scheme(uri) not in FOREIGN_SCHEMES:
        return Rejected(Reason.PATH_NOT_ALLOWED, f"addresses start with {', '.join(FOREIGN_SCHEMES)} and hold no ::")
    try:
        host = urlsplit(uri).hostname or ""
        check_host(host, limits.allowed_hosts)
        if _scheme(uri) == "https":
            check_addresses(host, limits.allowed_hosts)
    except ValueError as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, f"{public_address(uri)}: {error}")
    return None


def _local(uri: str, allowed_roots: Sequence[Path], *, regular: bool = True) -> Path | Rejected:
    try:
        path = Path(local_path(uri))
        followed = Path(os.path.realpath(path))
        if allowed_roots and not any(followed.is_relative_to(os.path.realpath(root)) for root in allowed_roots):
            return Rejected(Reason.PATH_NOT_ALLOWED, f"{path}: leads out of the allowed folders")
        # Opening a pipe would wait for its writer, and a device may never end.
        if regular and not stat.S_ISREG(followed.stat().st_mode):
            return Rejected(Reason.UNREADABLE, f"{path}: not a regular file")
    except FileNotFoundError:
        return Rejected(Reason.MISSING_FILE, f"{uri}: no such file")
    except CatalogError as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, str(error))
    except (OSError, ValueError) as error:
        return Rejected(Reason.UNREADABLE, f"{uri!r}: {getattr(error, 'strerror', None) or error}")
    return followed if allowed_roots else path


def _download(uri: str, path: Path, limits: Limits, https_only: bool, seconds: float = _WALL_S) -> Rejected | None:
    # s3fs and gcsfs try again on their own, within a read too; twice as often would keep a dead endpoint for minutes.
    tries = 4 if _scheme(uri).startswith("http") else 1
    retrying = Retrying(
        stop=stop_after_attempt(tries) | stop_before_delay(seconds),
        wait=wait_exponential_jitter(initial=0.2, max=10, jitter=0.2),
        retry=retry_if_exception(_passing),
        reraise=True,
    )
    try:
        if _scheme(uri) != "memory":
            check_host(urlsplit(uri).hostname or "", limits.allowed_hosts)
        retrying(_copy, uri, path, limits, https_only, time.monotonic() + seconds)
    except HostNotAllowed as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, f"{public_address(uri)}: {error}")
    except FileNotFoundError:
        return Rejected(Reason.MISSING_FILE, f"{public_address(uri)}: no such object")
    except _TooLargeError as error:
        return Rejected(Reason.TOO_LARGE, f"{public_address(uri)}: {error}; the limit is {limits.max_bytes:,}")
    except ImportError as error:
        return Rejected(Reason.UNREACHABLE, f"{public_address(uri)}: {error}; install rayreel[s3] or rayreel[gcs]")
    except Exception as error:  # noqa: BLE001 - every file system has its own exceptions; all mean the same here
        return Rejected(Reason.UNREACHABLE, f"{public_address(uri)}: {_cause(error)}")
    return None


def _copy(uri: str, path: Path, limits: Limits, https_only: bool, until: float) -> None:
    seconds, max_bytes = max(until - time.monotonic(), 0.001), limits.max_bytes  # aiohttp takes 0 for no limit
    deadline = Deadline(seconds)
    with _open(uri, limits.allowed_hosts, https_only, seconds) as remote, path.open("wb") as local:
        size = _declared_size(remote)
        if size is not None and size > max_bytes:
            raise _TooLargeError(f"{size:,} bytes")
        copied = 0
        while piece := remote.read(min(_PIECE_BYTES, max_bytes - copied + 1)):
            copied += len(piece)
            if copied > max_bytes:
                raise _TooLargeError("more bytes than it may have")
            local.write(piece)
            deadline.check()
        if size is not None and copied < size:
            raise ConnectionError(f"only {copied:,} of {size:,} bytes came")


def _open(uri: str, hosts: tuple[str, ...], https_only: bool, seconds: float) -> Any:  # noqa: ANN401 - fsspec has no types
    import fsspec

    scheme = _scheme(uri)
    # A file system of a named protocol, never fsspec.open: that would unwrap chains such as zip://*::https://…
    if scheme.startswith("http"):
        # A size of our own skips fsspec's HEAD, which answers every fault with FileNotFoundError; the true one comes
        # with the response. Block size 0 streams.
        web = fsspec.filesystem(scheme, **_http_options(hosts, https_only))
        return web.open(uri, "rb", block_size=0, size=1, timeout=_http_timeout(seconds))
    return fsspec.filesystem(scheme).open(uri, "rb", block_size=8 * _PIECE_BYTES)


@cache
def _http_options(hosts: tuple[str, ...], https_only: bool) -> dict[str, Any]:
    from aiohttp import TraceConfig

    trace = TraceConfig()
    if https_only:
        trace.on_request_redirect.append(_refuse_downgrade)
    timeout = _http_timeout(_WALL_S)
    # Compressed answers would hide the true size.
    headers = {"Accept-Encoding": "identity"}
    client = {"trust_env": True, "timeout": timeout, "trace_configs": [trace], "headers": headers, "allowed": hosts}
    return {"client_kwargs": client, "get_client": guarded_session}


def _http_timeout(seconds: float) -> Any:  # noqa: ANN401 - aiohttp is imported where it is needed
    from aiohttp import ClientTimeout

    return ClientTimeout(total=seconds, sock_connect=_CONNECT_S, sock_read=_SILENCE_S)


async def _refuse_downgrade(_session: Any, _context: Any, params: Any) -> None:  # noqa: ANN401 - aiohttp's signature
    if params.response.headers.get("Location", "").lower().startswith("http://"):
        raise PermissionError("redirected from https:// to http://")


def _declared_size(remote: Any) -> int | None:  # noqa: ANN401 - fsspec has no types
    response = getattr(remote, "r", None)
    size = getattr(remote, "size", None) if response is None else response.content_length
    return None if size is None else int(size)


def _passing(error: BaseException) -> bool:
    """Whether another try may help: connection faults, 5xx and 429."""
    if (status := _status(error)) is not None:
        return status >= 500 or status == _TOO_MANY_REQUESTS
    return isinstance(error, Exception) and not isinstance(error, _LASTING)


def _status(error: BaseException) -> int | None:
    """The HTTP status behind an error of aiohttp, gcsfs or, one deeper, botocore; None when there was no answer."""
    answer = getattr(error.__cause__, "response", None)
    if isinstance(answer, dict):
        error_code = answer.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        error_code = getattr(error, "status", getattr(error, "code", None))
    return error_code if isinstance(error_code, int) else None


def _cause(error: Exception) -> str:
    """Never the error's own words: they repeat the address, with whatever secrets it holds."""
    if (status := _status(error)) is not None:
        return f"HTTP {status}"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__


def _scheme(uri: str) -> str:
    return uri.partition("://")[0].lower()


def public_address(uri: str) -> str:
    """An address without the secrets it may hold: no credentials, no query string."""
    try:
        parts = urlsplit(uri)
    except ValueError:
        return f"{_scheme(uri)}://…"
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

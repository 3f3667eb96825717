"""Copy a remote file to the local disk."""

import os
from collections.abc import Collection, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tenacity import Retrying, retry_if_exception, stop_after_attempt, stop_before_delay, wait_exponential_jitter

from rayreel.deadline import Deadline
from rayreel.failures import Reason, Rejected
from rayreel.redact import redacted
from rayreel.remote.address import BUCKETS, BadAddress, parse_address, scheme_of
from rayreel.remote.bounds import Bounds, TooLarge
from rayreel.remote.config import ReadLimits
from rayreel.remote.hosts import HostNotAllowed, check_address
from rayreel.remote.http import BadRange, HttpStatus, get

FOREIGN_SCHEMES = ("https", *BUCKETS)
# memory:// contains only what this process stored there.
SCHEMES = (*FOREIGN_SCHEMES, "memory")
_PIECE_BYTES = 1 << 20
_TOO_MANY_REQUESTS = 429
_NOT_RETRYABLE = (FileNotFoundError, PermissionError, IsADirectoryError, ImportError, ValueError, TypeError)


def copy(
    uri: str,
    path: Path,
    limits: ReadLimits,
    bounds: Bounds,
    *,
    schemes: Collection[str] = SCHEMES,
    seconds: float | None = None,
) -> Rejected | None:
    """Copy a remote file to `path` and return None, or the reason of the failure.

    `seconds` limits all attempts together; None: `limits.download_timeout_s`. Contacts only hosts and buckets that
    `limits` allow, also after redirects and name resolution. A failure contains the address without secrets and nothing
    of the response.
    """
    seconds = limits.download_timeout_s if seconds is None else seconds
    deadline = Deadline(seconds)
    # s3fs and gcsfs retry on their own, also within a read; retrying on top would wait for minutes on a dead endpoint.
    retrying = Retrying(
        stop=stop_after_attempt(4 if scheme_of(uri).startswith("http") else 1) | stop_before_delay(seconds),
        wait=wait_exponential_jitter(initial=0.2, max=10, jitter=0.2),
        retry=retry_if_exception(is_retryable),
        reraise=True,
    )
    try:
        retrying(_copy, uri, path, limits, bounds, schemes=schemes, deadline=deadline)
    except Exception as error:  # noqa: BLE001 - every file system has its own exceptions; `failure` converts them
        return failure(redacted(uri), error)
    return None


def _copy(
    uri: str, path: Path, limits: ReadLimits, bounds: Bounds, *, schemes: Collection[str], deadline: Deadline
) -> None:
    bounds.reset()
    with _opened(uri, limits, bounds, schemes, deadline) as pieces, path.open("wb") as local:
        for piece in pieces:
            bounds.add(piece)
            local.write(piece)
            deadline.check()


@contextmanager
def _opened(
    uri: str, limits: ReadLimits, bounds: Bounds, schemes: Collection[str], deadline: Deadline
) -> Iterator[Iterable[bytes]]:
    scheme = scheme_of(uri)
    if scheme not in schemes:
        raise HostNotAllowed(f"{scheme}:// is not one of {', '.join(schemes)}")
    if scheme not in {"http", "https"}:
        with _object(uri, scheme, limits) as file:
            bounds.check_declared(file.size)
            yield _pieces(file, bounds)
        return
    with get(parse_address(uri), limits, schemes, deadline) as response:
        bounds.check_declared(response.size)
        yield response.pieces()


def _object(uri: str, scheme: str, limits: ReadLimits) -> Any:  # noqa: ANN401 - fsspec has no types
    import fsspec

    # A file system by its protocol instead of fsspec.open, which would follow chains such as zip://*::https://…
    if scheme == "memory":
        if limits.from_outside:
            raise HostNotAllowed("API clients may not read memory:// URLs")
        return fsspec.filesystem(scheme).open(uri, "rb")
    address = parse_address(uri)
    check_address(address, limits)
    path = f"{address.host}/{address.target}"
    return fsspec.filesystem(scheme).open(path, "rb", block_size=8 * _PIECE_BYTES)


def _pieces(file: Any, bounds: Bounds) -> Iterator[bytes]:  # noqa: ANN401 - fsspec has no types
    while piece := file.read(min(_PIECE_BYTES, bounds.remaining + 1)):
        yield piece
    if file.size is not None and bounds.count < file.size:
        raise ConnectionError(f"only {bounds.count:,} of {file.size:,} bytes received")


def failure(name: str, error: Exception) -> Rejected:
    """Return the reason of a failed read of `name`, without secrets and without anything of the response."""
    match error:
        case HostNotAllowed() | BadAddress():
            return Rejected(Reason.PATH_NOT_ALLOWED, f"{name}: {error}")
        case BadRange():
            return Rejected(Reason.UNREACHABLE, f"{name}: {error}")
        case FileNotFoundError():
            return Rejected(Reason.MISSING_FILE, f"{name}: no such object")
        case TooLarge():
            return Rejected(Reason.TOO_LARGE, f"{name}: {error}")
        case ImportError():
            return Rejected(Reason.UNREACHABLE, f"{name}: {error}; install rayreel[s3] or rayreel[gcs]")
    return Rejected(Reason.UNREACHABLE, f"{name}: {_cause(error)}")


def is_retryable(error: BaseException) -> bool:
    """Return whether another attempt may succeed: after connection errors, 5xx and 429."""
    if (status := _status(error)) is not None:
        return status >= 500 or status == _TOO_MANY_REQUESTS
    return isinstance(error, Exception) and not isinstance(error, _NOT_RETRYABLE)


def _status(error: BaseException) -> int | None:
    """Return the HTTP status of an error of ours, gcsfs or botocore (its cause); None if there was no response."""
    response = getattr(error.__cause__, "response", None)
    if isinstance(error, HttpStatus):
        return error.status
    if isinstance(response, dict):
        error_code = response.get("ResponseMetadata", {}).get("HTTPStatusCode")
    else:
        error_code = getattr(error, "status", getattr(error, "code", None))
    return error_code if isinstance(error_code, int) else None


def _cause(error: Exception) -> str:
    """Describe an error without its own message, which may repeat secrets from the address or the response."""
    if (status := _status(error)) is not None:
        return f"HTTP {status}"
    if isinstance(error, OSError) and error.errno is not None:
        return os.strerror(error.errno)
    return type(error).__name__

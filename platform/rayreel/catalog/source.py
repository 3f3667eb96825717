"""Open catalog files, local or remote, and resolve the addresses in them."""

import io
import os
import posixpath
import re
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import IO, Any, TypeVar
from urllib.parse import unquote

from rayreel.catalog.problem import CatalogError
from rayreel.failures import Reason
from rayreel.remote.bounds import BoundedReader, Bounds, TooLarge
from rayreel.remote.config import ReadLimits
from rayreel.remote.copy import copy

# Files that API clients cannot choose, such as interactions, are the operator's own and may have any size.
_LIMITS = ReadLimits(max_catalog_bytes=1 << 50)
_REMEDIES = {
    Reason.TOO_LARGE: " The parts of a catalog can be added one by one with --add.",
    Reason.UNREACHABLE: " Check the address and the credentials.",
}
Row = TypeVar("Row")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


@contextmanager
def open_source(uri: str, mode: str = "rb", limits: ReadLimits = _LIMITS, **text: Any) -> Iterator[Any]:  # noqa: ANN401
    """Open a local or remote file. Raises CatalogError if it cannot be opened or exceeds `limits`.

    A remote file is first copied to a temporary file; only hosts and buckets that `limits` allow are contacted. In text
    mode the length of lines is limited too, and reading past a limit raises CatalogError.
    """
    lines = limits.max_catalog_line_bytes if "t" in mode else None
    bounds = Bounds(limits.max_catalog_bytes, "limits.max_catalog_bytes", lines)
    with ExitStack() as stack:
        path = stack.enter_context(_fetched(uri, limits, bounds)) if is_remote(uri) else Path(uri)
        bounds.reset()
        try:
            raw = stack.enter_context(path.open("rb"))
            # The size of a pipe is 0; its bytes are counted as they are read.
            bounds.check_declared(os.fstat(raw.fileno()).st_size)
        except FileNotFoundError as error:
            raise CatalogError(f"The file {uri} does not exist. Check the path.") from error
        except TooLarge as error:
            raise CatalogError(f"{uri} cannot be read: {error}.") from None
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or error
            raise CatalogError(f"{uri} cannot be opened: {what}. Check the path and its permissions.") from error
        # Binary readers seek, so bytes cannot be counted as they are read; the size has been checked above.
        yield raw if lines is None else io.TextIOWrapper(io.BufferedReader(_CatalogReader(raw, bounds, uri)), **text)


@contextmanager
def _fetched(uri: str, limits: ReadLimits, bounds: Bounds) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="rayreel-", suffix=suffix(uri)[:8]) as file:
        failed = copy(uri, Path(file.name), limits, bounds)
        if failed is not None and failed.reason is Reason.MISSING_FILE:
            raise CatalogError(f"The file {uri} does not exist. Check the address.")
        if failed is not None:
            raise CatalogError(f"The catalog cannot be opened: {failed.detail}.{_REMEDIES.get(failed.reason, '')}")
        yield Path(file.name)


class _CatalogReader(BoundedReader):
    """A bounded reader that raises CatalogError with the catalog's name."""

    def __init__(self, file: IO[bytes], bounds: Bounds, uri: str) -> None:
        super().__init__(file, bounds)
        self._uri = uri

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read at most as many bytes as the buffer holds. Raises CatalogError past a limit."""
        try:
            return super().readinto(buffer)
        except TooLarge as error:
            raise CatalogError(f"{self._uri} cannot be read: {error}.") from None


def at_most(rows: Iterator[Row], limits: ReadLimits, uri: str) -> Iterator[Row]:
    """Yield the rows of a catalog. Raises CatalogError if there are more than `limits.max_catalog_rows`."""
    for number, row in enumerate(rows, start=1):
        if number > limits.max_catalog_rows:
            raise CatalogError(
                f"{uri} has more than {limits.max_catalog_rows:,} rows (limits.max_catalog_rows). Raise the limit, or "
                "split the file and add the parts with --add."
            )
        yield row


def suffix(uri: str) -> str:
    """Return a file's suffix in lower case, with the dot. Ignores the query of an http(s) URL."""
    return PurePosixPath(_without_query(uri)).suffix.lower()


def is_remote(uri: str) -> bool:
    """Return whether a URI has a scheme other than file://."""
    return bool(_SCHEME.match(uri)) and not uri.lower().startswith("file://")


def local_path(uri: str) -> str:
    """Convert a file:// URI to a path; return anything else unchanged. Raises CatalogError if it has another host."""
    if not uri.lower().startswith("file://"):
        return uri
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in {"", "localhost"}:
        raise CatalogError(f"{uri} refers to the host {host!r}; write a local file as file:///folder/name.")
    return unquote(slash + path)


def absolute(uri: str, manifest: str) -> str:
    """Resolve a relative URI from the folder of a manifest; return an absolute one unchanged."""
    if is_remote(uri) or uri.startswith("/"):
        return uri
    if not is_remote(manifest):
        return posixpath.normpath(Path(manifest).parent.resolve() / uri)
    scheme, _, address = _without_query(manifest).partition("://")
    host, _, path = address.partition("/")
    return f"{scheme}://{host}" + posixpath.normpath(posixpath.join("/", posixpath.dirname(path), uri))


def _without_query(uri: str) -> str:
    return re.split(r"[?#]", uri, maxsplit=1)[0] if uri.lower().startswith(("http://", "https://")) else uri

"""Where catalog files lie, local or remote, and how they are opened."""

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

# Files that callers do not name, such as interactions, are the operator's own and may have any size.
_LIMITS = ReadLimits(max_catalog_bytes=1 << 50)
_REMEDIES = {
    Reason.TOO_LARGE: " The parts of a catalog can be added one after the other, with --add.",
    Reason.UNREACHABLE: " Check the address and the credentials.",
}
Row = TypeVar("Row")
_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


@contextmanager
def open_source(uri: str, mode: str = "rb", limits: ReadLimits = _LIMITS, **text: Any) -> Iterator[Any]:  # noqa: ANN401
    """Open a local or remote file within `limits`. Raises CatalogError where it cannot be opened.

    A remote file is copied to a temporary one first, over a connection that reaches only what `limits` let in. With a
    text mode, lines have a limit as well. Reading on past a limit raises CatalogError, too.
    """
    lines = limits.max_catalog_line_bytes if "t" in mode else None
    bounds = Bounds(limits.max_catalog_bytes, "limits.max_catalog_bytes", lines)
    with ExitStack() as stack:
        path = stack.enter_context(_fetched(uri, limits, bounds)) if is_remote(uri) else Path(uri)
        bounds.again()
        try:
            raw = stack.enter_context(path.open("rb"))
            # Of a pipe the size is 0; its bytes are counted as they come.
            bounds.declare(os.fstat(raw.fileno()).st_size)
        except FileNotFoundError as error:
            raise CatalogError(f"There is no file {uri}. Check the path.") from error
        except TooLarge as error:
            raise CatalogError(f"{uri} cannot be read: {error}.") from None
        except (OSError, ValueError) as error:
            what = getattr(error, "strerror", None) or error
            raise CatalogError(f"{uri} cannot be opened: {what}. Check the path and its permissions.") from error
        # Binary readers seek, and know what they need; for them the size has been checked.
        yield raw if lines is None else io.TextIOWrapper(io.BufferedReader(_Counted(raw, bounds, uri)), **text)


@contextmanager
def _fetched(uri: str, limits: ReadLimits, bounds: Bounds) -> Iterator[Path]:
    with tempfile.NamedTemporaryFile(prefix="rayreel-", suffix=suffix(uri)[:8]) as file:
        failed = copy(uri, Path(file.name), limits, bounds)
        if failed is not None and failed.reason is Reason.MISSING_FILE:
            raise CatalogError(f"There is no file {uri}. Check the address.")
        if failed is not None:
            raise CatalogError(f"The catalog cannot be opened: {failed.detail}.{_REMEDIES.get(failed.reason, '')}")
        yield Path(file.name)


class _Counted(BoundedReader):
    """A catalog that is open, and its name for the error past a limit."""

    def __init__(self, file: IO[bytes], bounds: Bounds, uri: str) -> None:
        super().__init__(file, bounds)
        self._uri = uri

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """Read as much as fits. Raises CatalogError past a limit."""
        try:
            return super().readinto(buffer)
        except TooLarge as error:
            raise CatalogError(f"{self._uri} cannot be read: {error}.") from None


def at_most(rows: Iterator[Row], limits: ReadLimits, uri: str) -> Iterator[Row]:
    """Pass on the rows of a catalog. Raises CatalogError after `limits.max_catalog_rows` of them."""
    for number, row in enumerate(rows, start=1):
        if number > limits.max_catalog_rows:
            raise CatalogError(
                f"{uri} has more rows than the {limits.max_catalog_rows:,} of limits.max_catalog_rows. Raise the limit "
                "or split the file and add the parts with --add."
            )
        yield row


def suffix(uri: str) -> str:
    """A file's suffix in lower case, with its dot; an https:// query does not count."""
    return PurePosixPath(_without_query(uri)).suffix.lower()


def is_remote(uri: str) -> bool:
    """Whether a uri names a scheme other than file://."""
    return bool(_SCHEME.match(uri)) and not uri.lower().startswith("file://")


def local_path(uri: str) -> str:
    """Make a plain path of a file:// uri; anything else stays. Raises CatalogError where it names another machine."""
    if not uri.lower().startswith("file://"):
        return uri
    host, slash, path = uri[len("file://") :].partition("/")
    if host not in {"", "localhost"}:
        raise CatalogError(f"{uri} names the machine {host!r}; a local file is written file:///folder/name.")
    return unquote(slash + path)


def absolute(uri: str, manifest: str) -> str:
    """Make a uri absolute that counts from the folder of a manifest; one that is absolute stays."""
    if is_remote(uri) or uri.startswith("/"):
        return uri
    if not is_remote(manifest):
        return posixpath.normpath(Path(manifest).parent.resolve() / uri)
    scheme, _, address = _without_query(manifest).partition("://")
    host, _, path = address.partition("/")
    return f"{scheme}://{host}" + posixpath.normpath(posixpath.join("/", posixpath.dirname(path), uri))


def _without_query(uri: str) -> str:
    return re.split(r"[?#]", uri, maxsplit=1)[0] if uri.lower().startswith(("http://", "https://")) else uri

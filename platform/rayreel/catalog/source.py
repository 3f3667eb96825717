"""Where catalog files lie, local or remote, and how they are opened."""

import posixpath
import re
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path, PurePosixPath
from typing import Any
from urllib.parse import unquote

import fsspec

from rayreel.catalog.problem import CatalogError

_SCHEME = re.compile(r"[a-zA-Z][a-zA-Z0-9+.-]*://")


@contextmanager
def open_source(uri: str, mode: str = "rb", **text: str) -> Iterator[Any]:
    """Open a local or remote file. Raises CatalogError where it cannot be opened."""
    with ExitStack() as stack:
        try:
            file = stack.enter_context(fsspec.open(uri, mode, **text))
        except FileNotFoundError as error:
            raise CatalogError(f"There is no file {uri}. Check the path.") from error
        except ImportError as error:
            remedy = "pip install 'rayreel[s3]' for s3://, 'rayreel[gcs]' for gs://"
            raise CatalogError(f"{uri} needs a package that is missing: {error}. Try {remedy}.") from error
        except Exception as error:  # every storage backend brings exceptions of its own
            remedy = "Check the address and the credentials"
            raise CatalogError(f"{uri} cannot be opened: {error or type(error).__name__}. {remedy}.") from error
        yield file


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

"""Provide a video as a local file, wherever it is stored."""

import os
import stat
import tempfile
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from rayreel.catalog.problem import CatalogError
from rayreel.catalog.source import is_remote, local_path, suffix
from rayreel.failures import Reason, Rejected
from rayreel.media.config import Limits
from rayreel.redact import redacted
from rayreel.remote.address import BadAddress, parse_address, scheme_of
from rayreel.remote.bounds import Bounds
from rayreel.remote.copy import FOREIGN_SCHEMES, SCHEMES, copy
from rayreel.remote.hosts import HostNotAllowed, check_address, check_resolved
from rayreel.remote.local import is_allowed, may_read

_NO_ROOTS = Rejected(Reason.PATH_NOT_ALLOWED, "a client may name local files in limits.allowed_roots only")


@contextmanager
def local_copy(
    uri: str,
    limits: Limits,
    allowed_roots: Sequence[Path] = (),
    schemes: Collection[str] = SCHEMES,
    seconds: float | None = None,
) -> Iterator[Path | Rejected]:
    """Yield a local path with the content of `uri`. A remote file is copied to a temporary one for the block.

    Only hosts and buckets in `limits.allowed_hosts` are contacted, for at most `seconds`, by default
    `limits.download_timeout_s`. A local path must be a regular file. With `allowed_roots`, it must also be inside one
    of them with all symbolic links resolved, and the resolved path is yielded. Messages contain no credentials and no
    query string.
    """
    if limits.from_outside and (refused := _refuse(uri, limits)) is not None:
        yield refused
    elif not is_remote(uri):
        yield _local(uri, allowed_roots)
    else:
        with tempfile.NamedTemporaryFile(prefix="rayreel-", suffix=suffix(uri)[:8]) as file:
            bounds = Bounds(limits.max_bytes, "limits.max_bytes")
            yield copy(uri, Path(file.name), limits, bounds, schemes=schemes, seconds=seconds) or Path(file.name)


def refuse_foreign(uri: str, limits: Limits) -> Rejected | None:
    """Return why an address from a client may not be read; None if it may. Resolves the host name."""
    limits = limits.model_copy(update={"from_outside": True})
    if (refused := _refuse(uri, limits)) is not None or not is_remote(uri):
        return refused
    address = parse_address(uri)
    try:
        if address.scheme == "https":
            check_resolved(address.host, limits.allowed_hosts)
    except HostNotAllowed as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, f"{redacted(uri)}: {error}")
    return None


def _refuse(uri: str, limits: Limits) -> Rejected | None:
    """Check an address from a client without the network; resolves the symbolic links of a local path."""
    if not is_remote(uri):
        return None if may_read(_path(uri), limits) else _NO_ROOTS
    if scheme_of(uri) not in FOREIGN_SCHEMES:
        return Rejected(
            Reason.PATH_NOT_ALLOWED, f"{redacted(uri)}: the scheme is not one of {', '.join(FOREIGN_SCHEMES)}"
        )
    try:
        check_address(parse_address(uri), limits)
    except (HostNotAllowed, BadAddress) as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, f"{redacted(uri)}: {error}")
    return None


def _path(uri: str) -> str:
    try:
        return local_path(uri)
    except CatalogError:  # a file URL of another machine
        return os.devnull


def _local(uri: str, allowed_roots: Sequence[Path]) -> Path | Rejected:
    try:
        path = Path(local_path(uri))
        if allowed_roots and not is_allowed(path, allowed_roots):
            return Rejected(Reason.PATH_NOT_ALLOWED, f"{path}: outside the allowed folders")
        followed = Path(os.path.realpath(path))
        # Opening a pipe would block until it has a writer, and reading a device may never end.
        if not stat.S_ISREG(followed.stat().st_mode):
            return Rejected(Reason.UNREADABLE, f"{path}: not a regular file")
    except FileNotFoundError:
        return Rejected(Reason.MISSING_FILE, f"{uri}: no such file")
    except CatalogError as error:
        return Rejected(Reason.PATH_NOT_ALLOWED, str(error))
    except (OSError, ValueError) as error:
        return Rejected(Reason.UNREADABLE, f"{uri!r}: {getattr(error, 'strerror', None) or error}")
    return followed if allowed_roots else path

"""Which local files may be read. Decided before accessing them."""

import os
from collections.abc import Sequence
from pathlib import Path

from rayreel.remote.address import scheme_of
from rayreel.remote.config import ReadLimits


def may_read(path: str, limits: ReadLimits) -> bool:
    """Return whether a remote catalog or an API client may refer to a local file; for clients, not to the state."""
    try:
        allowed = is_allowed(Path(path), limits.allowed_roots)
        return allowed and not (limits.from_outside and is_state(Path(path), limits))
    except (OSError, ValueError):  # a NUL in the path, a folder without permission
        return False


def is_allowed(path: Path, roots: Sequence[Path]) -> bool:
    """Return whether a path is inside one of `roots`, both as written and with all symbolic links resolved.

    A path outside as written is rejected without accessing the disk, so that neither the result nor its timing shows
    whether the file exists.
    """
    written = [_normalized(root) for root in roots]
    resolved = [Path(os.path.realpath(root)) for root in roots]
    if not any(_normalized(path).is_relative_to(root) for root in (*written, *resolved)):
        return False
    return any(Path(os.path.realpath(path)).is_relative_to(root) for root in resolved)


def _normalized(path: Path) -> Path:
    """Return an absolute path without `..`, without accessing the disk."""
    return Path(os.path.normpath(path.absolute()))


def is_state(path: Path, limits: ReadLimits) -> bool:
    """Return whether a file is part of the service's state, except for folders in it listed in `allowed_roots`."""
    if limits.state is None or scheme_of(limits.state) not in {"", "file"}:
        return False
    state = os.path.realpath(limits.state.removeprefix("file://"))
    roots = [os.path.realpath(root) for root in limits.allowed_roots]
    exceptions = [root for root in roots if root != state and Path(root).is_relative_to(state)]
    resolved = Path(os.path.realpath(path))
    return resolved.is_relative_to(state) and not any(resolved.is_relative_to(root) for root in exceptions)

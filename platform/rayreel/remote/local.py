"""Which files of this machine may be read: decided before anything looks at them."""

import os
from collections.abc import Sequence
from pathlib import Path

from rayreel.remote.address import scheme_of
from rayreel.remote.config import ReadLimits


def may_read(path: str, limits: ReadLimits) -> bool:
    """Whether a catalog from elsewhere may name a file of this machine; of a caller's, never one of the state."""
    try:
        named = is_allowed(Path(path), limits.allowed_roots)
        return named and not (limits.from_outside and is_state(Path(path), limits))
    except (OSError, ValueError):  # a NUL in the path, a folder that may not be looked into
        return False


def is_allowed(path: Path, roots: Sequence[Path]) -> bool:
    """Whether a path lies under one of `roots`, as it is written and once every symbolic link is followed.

    A path that is written elsewhere is refused unseen: nobody learns, from the answer or from the time it takes,
    whether something is there.
    """
    written = [_plain(root) for root in roots]
    followed = [Path(os.path.realpath(root)) for root in roots]
    if not any(_plain(path).is_relative_to(root) for root in (*written, *followed)):
        return False
    return any(Path(os.path.realpath(path)).is_relative_to(root) for root in followed)


def _plain(path: Path) -> Path:
    """A path without `..`, by the letter: nothing on disk is looked at."""
    return Path(os.path.normpath(path.absolute()))


def is_state(path: Path, limits: ReadLimits) -> bool:
    """Whether a file belongs to the service's own state; a folder of it that `allowed_roots` names does not."""
    if limits.state is None or scheme_of(limits.state) not in {"", "file"}:
        return False
    state = os.path.realpath(limits.state.removeprefix("file://"))
    named = [os.path.realpath(root) for root in limits.allowed_roots]
    within = [root for root in named if root != state and Path(root).is_relative_to(state)]
    place = Path(os.path.realpath(path))
    return place.is_relative_to(state) and not any(place.is_relative_to(root) for root in within)

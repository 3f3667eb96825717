"""The user tower of a release, beside its rows: replicas read it with the snapshot."""

import logging

from rayreel.release.rows import ReleaseRows
from rayreel.storage import Storage
from rayreel.tower.save import USERS
from rayreel.tower.user import NotAUserTower, UserTower

log = logging.getLogger(__name__)


def write_user_tower(rows: ReleaseRows, tower: UserTower | None) -> None:
    """Write a release's user tower, if it has one and it is not there yet."""
    path = f"{rows.folder}/{USERS}"
    if tower is not None and not rows.storage.exists(path):
        rows.storage.write(path, tower.to_bytes())


def read_user_tower(storage: Storage, version: int) -> UserTower | None:
    """Return a release's user tower; None if it has none, or if the file is broken, which is logged as an error."""
    path = storage.path("releases", f"v{version}", USERS)
    content = storage.read(path)
    if content is None:
        return None
    try:
        return UserTower.from_bytes(content)
    except NotAUserTower as error:
        log.error("%s: release %d answers users without their tower: %s", path, version, error)
        return None

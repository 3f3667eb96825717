"""The reconciler's status: how the serving release relates to MLflow's champion. Stored below the storage root."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum

from pydantic import TypeAdapter, ValidationError

from rayreel.release.config import FollowMode
from rayreel.storage import Storage


class State(StrEnum):
    """State of the reconciler. Closed set: dashboards and alerts key on it."""

    OFF = "off"  # release.follow is off
    IN_STEP = "in_step"  # the champion serves
    WANTED = "wanted"  # the champion has moved to a version that has not been judged
    FOLLOWING = "following"  # that version is being judged and built
    WAITING = "waiting"  # another process is working on a release
    REFUSED = "refused"  # gates refused the champion
    FAILED = "failed"  # promotion failed for another reason and is retried
    NO_CHAMPION = "no_champion"  # the alias is not set
    INDEX_MOVED = "index_moved"  # the index alias was moved without a promotion
    UNREACHABLE = "unreachable"  # MLflow or the index does not answer
    STOPPED = "stopped"  # no status for a long time; set by readers only


@dataclass(frozen=True, slots=True)
class FollowStatus:
    """The reconciler's last finding.

    `wanted` is the version at MLflow's champion and `serving` the one that serves; None if there is none. `reason`
    explains why they differ, `gates` names the gates that failed. `detail` is for operators only: it may contain paths
    and addresses. `looked_at` is the time of the last check, ISO 8601 in UTC.
    """

    state: State
    mode: FollowMode
    serving: int | None = None
    wanted: int | None = None
    reason: str = ""
    gates: tuple[str, ...] = ()
    detail: str = ""
    looked_at: str = ""


_STATUS: TypeAdapter[FollowStatus] = TypeAdapter(FollowStatus)


def read_following(storage: Storage) -> FollowStatus | None:
    """Return the last status written; None if there is none or it cannot be read."""
    content = storage.read(_path(storage))
    try:
        return None if content is None else _STATUS.validate_json(content)
    except ValidationError:  # the reconciler rewrites it within seconds
        return None


def write_following(storage: Storage, found: FollowStatus) -> None:
    """Write the status, with the current time as `looked_at`."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    storage.write(_path(storage), _STATUS.dump_json(replace(found, looked_at=now)))


def _path(storage: Storage) -> str:
    return storage.path("releases", "following.json")

"""How far the release that serves follows MLflow's champion: what the reconciler has found, for everyone to read."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from enum import StrEnum
from typing import Literal

from pydantic import TypeAdapter, ValidationError

from rayreel.storage import Storage

Mode = Literal["gate", "force", "off"]


class State(StrEnum):
    """Where following stands. Closed set: dashboards and alerts key on it."""

    OFF = "off"
    IN_STEP = "in_step"
    WANTED = "wanted"
    FOLLOWING = "following"
    WAITING = "waiting"
    REFUSED = "refused"
    FAILED = "failed"
    NO_CHAMPION = "no_champion"
    INDEX_MOVED = "index_moved"
    UNREACHABLE = "unreachable"
    STOPPED = "stopped"


@dataclass(frozen=True, slots=True)
class Following:
    """`wanted` is the version that MLflow's champion points at, `serving` the one that serves; None without one.

    `reason` says in a sentence why they differ, `gates` names those that refused. `detail` is for operators only: it
    may name paths and addresses. `looked_at` is when somebody looked last, ISO 8601 in UTC.
    """

    state: State
    mode: Mode
    serving: int | None = None
    wanted: int | None = None
    reason: str = ""
    gates: tuple[str, ...] = ()
    detail: str = ""
    looked_at: str = ""


_STATUS: TypeAdapter[Following] = TypeAdapter(Following)


def read_following(storage: Storage) -> Following | None:
    """What the reconciler has written last; None before the first time, and for a record that cannot be read."""
    content = storage.read(_path(storage))
    try:
        return None if content is None else _STATUS.validate_json(content)
    except ValidationError:  # written again within seconds
        return None


def write_following(storage: Storage, found: Following) -> None:
    """Let everyone know, and when it was found: now."""
    now = datetime.now(UTC).isoformat(timespec="seconds")
    storage.write(_path(storage), _STATUS.dump_json(replace(found, looked_at=now)))


def _path(storage: Storage) -> str:
    return storage.path("releases", "following.json")

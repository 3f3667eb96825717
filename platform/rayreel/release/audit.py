"""The audit trail: who put which version in front of people, when, why, and what was known of it. In MLflow tags."""

import getpass
import json
import socket
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

from rayreel.release import registry
from rayreel.release.gates import Gate
from rayreel.release.registry import Version

_EVENT = "release_event."


@dataclass(frozen=True, slots=True)
class Release:
    """A version that serves or has served. Times are ISO 8601 in UTC; `gates` as they were found at its promotion."""

    version: int
    champion: bool
    promoted_at: str
    promoted_by: str
    promoted_from: int | None
    metrics: dict[str, float]
    gates: list[dict[str, Any]]
    forced_reason: str | None = None
    rolled_back_at: str | None = None
    rolled_back_by: str | None = None


def history() -> list[Release]:
    """Every version that has served, the last promoted first."""
    champion = registry.find(registry.CHAMPION)
    known = registry.tags_of_all()
    releases = [
        _release(number, tags, champion is not None and champion.number == number)
        for number, tags in known.items()
        if "promoted_at" in tags
    ]
    return sorted(releases, key=lambda release: (release.promoted_at, release.version), reverse=True)


def events() -> list[dict[str, Any]]:
    """Every promotion and every rollback there was, in order: event, at, by, version, from, and a forced reason."""
    tags = registry.model_tags()
    return [json.loads(tags[name]) for name in sorted(tags) if name.startswith(_EVENT)]


def intend(
    version: Version, before: int | None, gates: Sequence[Gate], metrics: Mapping[str, float], reason: str | None
) -> None:
    """Write down why the version may serve, before it does: a switch that is killed half-way can be told afterwards."""
    failed = [gate for gate in gates if not gate.passed]
    registry.tag(
        version,
        promoted_by=_who(),
        promoted_from=None if before is None else str(before),
        gates=json.dumps([asdict(gate) for gate in gates]),
        metrics=json.dumps(dict(metrics)),
        forced_reason=reason if failed else None,
        rolled_back_at=None,
        rolled_back_by=None,
        rolled_back_to=None,
    )


def promoted(version: Version) -> None:
    """The version serves."""
    tags, at = registry.tags(version), _now()
    registry.tag(version, promoted_at=at)
    before = tags.get("promoted_from")
    _event(at, "promoted", version.number, before, reason=tags.get("forced_reason"))


def intend_back(version: Version, to: Version) -> None:
    """The version is about to be left for an earlier one."""
    registry.tag(version, rolled_back_to=str(to.number))


def rolled_back(version: Version, to: Version) -> None:
    """The version has been left."""
    at = _now()
    registry.tag(version, rolled_back_at=at, rolled_back_by=_who())
    _event(at, "rolled back", to.number, str(version.number))


def _release(number: int, tags: Mapping[str, str], champion: bool) -> Release:
    before = tags.get("promoted_from")
    return Release(
        version=number,
        champion=champion,
        promoted_at=tags["promoted_at"],
        promoted_by=tags.get("promoted_by", ""),
        promoted_from=None if before is None else int(before),
        metrics=json.loads(tags.get("metrics", "{}")),
        gates=json.loads(tags.get("gates", "[]")),
        forced_reason=tags.get("forced_reason"),
        rolled_back_at=tags.get("rolled_back_at"),
        rolled_back_by=tags.get("rolled_back_by"),
    )


def _event(at: str, event: str, version: int, before: str | None, reason: str | None = None) -> None:
    told = {"event": event, "at": at, "by": _who(), "version": version, "from": before, "forced_reason": reason}
    # Names of tags allow no colon of a time; digits alone sort as well.
    registry.tag_model(_EVENT + "".join(digit for digit in at if digit.isdigit()), json.dumps(told))


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="microseconds")


def _who() -> str:
    try:
        user = getpass.getuser()
    except (KeyError, OSError):  # a container's user may have a number and no name
        user = "unknown"
    return f"{user}@{socket.gethostname()}"

"""The audit trail of releases: who promoted which version, when and why, with gates and metrics. In MLflow tags."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from rayreel.release import registry
from rayreel.release.journal import Switch

_EVENT = "release_event."
_SWITCHES = ("promoted", "rolled back", "restored")


@dataclass(frozen=True, slots=True)
class ReleaseRecord:
    """A version that serves or has served. Times are ISO 8601 in UTC; `gates` are the results at its promotion."""

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


def history() -> list[ReleaseRecord]:
    """Every version that has served, most recently promoted first."""
    champion = registry.find(registry.CHAMPION)
    known = registry.tags_of_all()
    releases = [
        _release(number, tags, champion is not None and champion.number == number)
        for number, tags in known.items()
        if "promoted_at" in tags
    ]
    return sorted(releases, key=lambda release: (release.promoted_at, release.version), reverse=True)


def events() -> list[dict[str, Any]]:
    """All events in order. Each has `event`, `at`, `by`, `version`, and `from`, the version that served before.

    `promoted`, `rolled back`, `restored` (after its index was lost) and `kept` (the alias `champion` was set back to
    it) also have `forced_reason`, and `champion_was` if the alias pointed at a third version. `refused` has `reason`
    and `gates`, `arm ended` (of an experiment) and `quarantine retried` `reason`. `champion deleted` has no other
    fields. Only completed actions are recorded, never intentions.
    """
    tags = registry.model_tags()
    return [json.loads(tags[name]) for name in sorted(tags) if name.startswith(_EVENT)]


def served() -> int | None:
    """The version that served last according to the trail; None if there was none."""
    switched = [event for event in events() if event["event"] in _SWITCHES]
    return int(switched[-1]["version"]) if switched else None


def record(made: Switch) -> None:
    """Record a completed switch in the tags of its versions and in the trail. Idempotent."""
    version, left = str(made.version), None if made.before is None else str(made.before)
    if made.event == "promoted":
        registry.tag(
            made.version,
            promoted_at=made.at,
            promoted_by=made.by,
            promoted_from=left,
            gates=json.dumps(made.gates),
            metrics=json.dumps(made.metrics or {}),
            forced_reason=made.forced_reason,
            rolled_back_at=None,
            rolled_back_by=None,
            rolled_back_to=None,
            **registry.UNFOLLOWED,
        )
    elif made.event == "rolled back" and made.before is not None:
        registry.tag(made.before, rolled_back_at=made.at, rolled_back_by=made.by, rolled_back_to=version)
        registry.tag(made.version, **registry.UNFOLLOWED)
    more = {} if made.champion in {None, made.before, made.version} else {"champion_was": made.champion}
    _event(made.event, made.version, left, at=made.at, by=made.by, forced_reason=made.forced_reason, **more)


def refused(version: int, serving: int | None, by: str, reason: str, gates: Sequence[str]) -> None:
    """Record that the version at MLflow's champion was refused; `gates` are the names of the failed gates."""
    _event("refused", version, None if serving is None else str(serving), by=by, reason=reason, gates=list(gates))


def champion_deleted(serving: int | None, by: str) -> None:
    """Record that MLflow's champion was deleted; the serving release is unaffected."""
    _event("champion deleted", serving, None if serving is None else str(serving), by=by)


def arm_ended(serving: int, by: str, reason: str) -> None:
    """Record that a guardrail ended an arm of an experiment; the serving release is unaffected."""
    _event("arm ended", serving, str(serving), by=by, reason=reason)


def quarantine_retried(serving: int, by: str, reason: str) -> None:
    """Record that quarantined videos are tried again; `reason` says which."""
    _event("quarantine retried", serving, str(serving), by=by, reason=reason)


def _release(number: int, tags: Mapping[str, str], champion: bool) -> ReleaseRecord:
    before = tags.get("promoted_from")
    return ReleaseRecord(
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


def _event(event: str, version: int | None, before: str | None, *, by: str, at: str | None = None, **more: Any) -> None:  # noqa: ANN401
    at = at or datetime.now(UTC).isoformat(timespec="microseconds")
    details = {"event": event, "at": at, "by": by, "version": version, "from": before, **more}
    # Tag names may not contain the colons of a timestamp; its digits alone sort the same way.
    registry.tag_model(_EVENT + "".join(digit for digit in at if digit.isdigit()), json.dumps(details))

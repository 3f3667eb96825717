"""Follow MLflow's champion: promote or roll back to the version that the alias points at, through the usual gates.

MLflow's champion is the desired state, the index alias the actual one. If gates refuse the champion, the alias stays
where it is and the previous release keeps serving. The version's tags and the audit trail name the failed gates, and
the version is judged again only after the champion, the serving release or the gates have changed. If the champion is
deleted, the release that serves keeps serving.
"""

import hashlib
import json
import logging
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import UTC, datetime

from rayreel.errors import RayreelError
from rayreel.index.collection import collection_name
from rayreel.index.config import IndexUnavailable
from rayreel.release import audit, journal, registry
from rayreel.release.following import FollowStatus, State, read_following
from rayreel.release.gates import PromotionRefused
from rayreel.release.lease import Held, LeaseLost
from rayreel.release.process import who
from rayreel.release.promote import promote
from rayreel.release.registry import Version
from rayreel.release.rollback import is_former, roll_back
from rayreel.release.site import Site
from rayreel.release.switch import Overtaken, settle, standing
from rayreel.training.tracking import TrackingUnavailable

log = logging.getLogger(__name__)

FORCED = "set as champion in MLflow while release.follow is force"
# States in which the champion was not looked up.
_UNKNOWN = (State.OFF, State.WAITING)
_DELETED = "champion deleted"
# Limit for `follow_reason`, so that MLflow's page can show it.
_MOST_CHARACTERS = 4000


def look(site: Site) -> FollowStatus:
    """Compare MLflow's champion with the serving release. Finishes an interrupted switch, and changes nothing else.

    Raises TrackingUnavailable, IndexUnavailable.
    """
    mode = site.release.follow
    if mode == "off":
        return FollowStatus(State.OFF, mode, reason="release.follow is off: MLflow's champion is not followed.")
    try:
        settle(site, patience_s=0)
    except Held:
        return FollowStatus(State.WAITING, mode, reason="Another process is switching releases.")
    now, made = standing(site), journal.last_made(site.storage)
    found = FollowStatus(State.WANTED, mode, now.serving, now.champion)
    if now.champion is None:
        return replace(found, state=State.NO_CHAMPION, reason=_without_champion(now.serving))
    if now.champion == now.serving:
        return replace(found, state=State.IN_STEP)
    if made is None or made.version != now.champion:
        return _with_verdict(site, found)
    # Champion and serving release were not read atomically. Read them again, in case a switch happened in between.
    unchanged = standing(site) == now
    return replace(found, state=State.INDEX_MOVED, reason=_index_moved(site, found)) if unchanged else look(site)


def follow(site: Site, *, again: bool = False) -> FollowStatus:
    """Promote MLflow's champion, or roll back to it if it is a former release that is kept.

    A refused champion is not judged again; a failed one is, with `again`. If several processes follow, one acts and the
    others return the state `waiting`. Raises TrackingUnavailable, IndexUnavailable.
    """
    found = look(site)
    note(site, found)
    return _exclusively(site, _carry_out, found) if needs_action(found, again=again) else found


def needs_action(found: FollowStatus, *, again: bool = False) -> bool:
    """Whether a version has to be judged and built; with `again`, also one that failed before."""
    return found.state is State.WANTED or (again and found.state is State.FAILED)


def note(site: Site, found: FollowStatus) -> None:
    """Record changes of the champion that need no build: a withdrawn request or a deleted alias. As fast as `look`."""
    _withdraw(read_following(site.storage), found)
    if found.state is State.NO_CHAMPION and _is_unrecorded(found):
        _exclusively(site, _note_deleted, found)


def renew(site: Site, found: FollowStatus) -> FollowStatus:
    """Look again after the champion was set once more, so that a refused or failed version is judged again."""
    if found.wanted is None or found.state not in {State.REFUSED, State.FAILED}:
        return found
    _mark_withdrawn(found.wanted)
    return look(site)


def _exclusively(site: Site, act: Callable[[Site, FollowStatus], FollowStatus], found: FollowStatus) -> FollowStatus:
    """Act under the lease `follow`, unless another process has changed the state meanwhile."""
    try:
        with site.lease("follow", "follows the champion in MLflow"):
            now = look(site)
            return act(site, now) if now.state is found.state else now
    except (Held, LeaseLost, Overtaken) as busy:
        return replace(found, state=State.WAITING, reason="Another process is working on a release.", detail=str(busy))


def _carry_out(site: Site, found: FollowStatus) -> FollowStatus:
    assert found.wanted is not None
    by = f"{registry.CHAMPION} in MLflow, followed by {who()}"
    try:
        version = registry.resolve(str(found.wanted))
        if found.serving is not None and _is_kept(site, version) and is_former(version.number, found.serving):
            roll_back(site, to=version, by=by)
        else:
            promote(version, site, FORCED if found.mode == "force" else None, by=by)
    except PromotionRefused as refused:
        return _refuse(site, found, refused, by)
    except (Held, LeaseLost, Overtaken, TrackingUnavailable, IndexUnavailable):
        raise
    except RayreelError as error:
        return _fail(site, found, error)
    registry.tag(found.wanted, **registry.UNFOLLOWED | {"follow": "followed", "follow_at": _now()})
    log.info("release %d serves, following the champion in MLflow", found.wanted)
    return look(site)


def _refuse(site: Site, found: FollowStatus, refused: PromotionRefused, by: str) -> FollowStatus:
    assert found.wanted is not None
    gates = [gate.name for gate in refused.gates if not gate.passed]
    _mark(site, found, State.REFUSED, str(refused), gates)
    audit.refused(found.wanted, found.serving, by, str(refused), gates)
    log.warning("champion in MLflow refused: %s", refused)
    return _with_verdict(site, found)


def _fail(site: Site, found: FollowStatus, error: RayreelError) -> FollowStatus:
    _mark(site, found, State.FAILED, f"{type(error).__name__}: {error}", [])
    log.warning("following the champion in MLflow failed: %s", error)
    return _with_verdict(site, found)


def _mark(site: Site, found: FollowStatus, verdict: State, reason: str, gates: Sequence[str]) -> None:
    assert found.wanted is not None
    registry.tag(
        found.wanted,
        follow=verdict.value,
        follow_reason=reason[:_MOST_CHARACTERS],
        follow_gates=json.dumps(gates),
        follow_at=_now(),
        follow_basis=_basis(site, found.serving),
    )


def _with_verdict(site: Site, found: FollowStatus) -> FollowStatus:
    """The earlier verdict on this version from its tags; `found` unchanged if no verdict still applies."""
    assert found.wanted is not None
    tags = registry.tags(found.wanted)
    verdict, detail = tags.get("follow"), tags.get("follow_reason", "")
    if verdict not in {State.REFUSED, State.FAILED} or tags.get("follow_basis") != _basis(site, found.serving):
        return found
    names = tuple(json.loads(tags.get("follow_gates", "[]")))
    return replace(
        found, state=State(verdict), reason=_explanation(State(verdict), found, names), gates=names, detail=detail
    )


def _withdraw(before: FollowStatus | None, now: FollowStatus) -> None:
    """Discard the verdict on a refused or failed version once the champion has moved away from it."""
    if before is None or before.wanted is None or before.state not in {State.REFUSED, State.FAILED}:
        return
    if now.state not in _UNKNOWN and now.wanted != before.wanted and before.wanted in registry.tags_of_all():
        _mark_withdrawn(before.wanted)


def _mark_withdrawn(version: int) -> None:
    registry.tag(version, follow="withdrawn", follow_basis=None)


def _note_deleted(_site: Site, found: FollowStatus) -> FollowStatus:
    if _is_unrecorded(found):
        audit.champion_deleted(found.serving, f"{registry.CHAMPION} in MLflow, seen by {who()}")
    return found


def _is_unrecorded(found: FollowStatus) -> bool:
    """Whether the champion was deleted and the audit trail does not say so yet."""
    events = audit.events()
    return found.serving is not None and bool(events) and events[-1]["event"] != _DELETED


def _is_kept(site: Site, version: Version) -> bool:
    return bool(site.client.has_collection(collection_name(version.number), timeout=site.index.timeout_s))


def _basis(site: Site, serving: int | None) -> str:
    """Digest of what a verdict depends on. Not of the catalog: each new video would cause a new judgement."""
    rules = site.release.gates.model_dump_json() + site.evaluation.model_dump_json() + site.release.follow
    return f"{serving}/{hashlib.blake2b(rules.encode(), digest_size=8).hexdigest()}"


def _explanation(verdict: State, found: FollowStatus, gates: tuple[str, ...]) -> str:
    serving = "Nothing serves." if found.serving is None else f"Release {found.serving} keeps serving."
    named = f"Version {found.wanted}, the {registry.CHAMPION} in MLflow,"
    if verdict is State.REFUSED:
        return f"{named} was refused by {', '.join(gates)}. {serving} Its tag follow_reason has the values."
    return f"{named} could not be promoted and is tried again. {serving} Its tag follow_reason has the cause."


def _without_champion(serving: int | None) -> str:
    if serving is None:
        return f"Nothing has been promoted. Set the alias {registry.CHAMPION} in MLflow, or run `rayreel promote`."
    return (
        f"The alias {registry.CHAMPION} is not set in MLflow. Release {serving} keeps serving. Set the alias to "
        f"version {serving}, or to another version to promote it."
    )


def _index_moved(site: Site, found: FollowStatus) -> str:
    change = "removed" if found.serving is None else f"moved to release {found.serving}"
    return (
        f"The index alias {site.index.alias} was {change} without a promotion, while {registry.CHAMPION} is still "
        f"version {found.wanted}. Promote the version that should serve: `rayreel promote --version …`."
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

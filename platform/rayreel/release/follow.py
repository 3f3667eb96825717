"""Follow MLflow: the version at which a person points the champion goes the way of every promotion.

The champion in MLflow is a wish; the index's alias says what serves. A wish that is refused stays where the person put
it: what serves goes on, the version's tags and the audit trail name the gates, and the same wish is not judged again
until the champion, what serves or the gates change. A champion that is deleted asks for nothing: what serves goes on.
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
from rayreel.release.following import Following, State, read_following
from rayreel.release.gates import Refused
from rayreel.release.lease import Held, Lease, LeaseLost
from rayreel.release.process import who
from rayreel.release.promote import promote
from rayreel.release.registry import Version
from rayreel.release.rollback import is_former, roll_back
from rayreel.release.site import Site
from rayreel.release.switch import Overtaken, settle, standing
from rayreel.training.tracking import TrackingUnavailable

log = logging.getLogger(__name__)

FORCED = "the champion was pointed at it in MLflow, and release.follow is force"
# States in which nothing is known of the champion.
_UNKNOWN = (State.OFF, State.WAITING)
_DELETED = "champion deleted"
# What MLflow's page can show of a reason.
_MOST_CHARACTERS = 4000


def look(site: Site) -> Following:
    """How things stand; a switch that was killed half-way is finished, and nothing else is changed.

    Raises TrackingUnavailable, IndexUnavailable.
    """
    mode = site.release.follow
    if mode == "off":
        return Following(State.OFF, mode, reason="release.follow is off: the champion in MLflow is not followed.")
    try:
        settle(site, patience_s=0)
    except Held:
        return Following(State.WAITING, mode, reason="Another process is switching releases.")
    now, made = standing(site), journal.last_made(site.storage)
    found = Following(State.WANTED, mode, now.serving, now.champion)
    if now.champion is None:
        return replace(found, state=State.NO_CHAMPION, reason=_without_champion(now.serving))
    if now.champion == now.serving:
        return replace(found, state=State.IN_STEP)
    if made is None or made.version != now.champion:
        return _answered(site, found)
    # The champion and what serves were read at two moments: a switch between them is over now.
    moved = standing(site) == now
    return replace(found, state=State.INDEX_MOVED, reason=_index_moved(site, found)) if moved else look(site)


def follow(site: Site, *, again: bool = False) -> Following:
    """Look, and do what the champion asks for: promote, or roll back to a release that served before and is kept.

    A wish that has been refused is not judged again; one that failed is, with `again`. Of several processes that follow
    one does it; for the others the state is `waiting`. Raises TrackingUnavailable, IndexUnavailable.
    """
    found = look(site)
    note(site, found)
    return _led(site, _carry_out, found) if asks(found, again=again) else found


def asks(found: Following, *, again: bool = False) -> bool:
    """Whether there is something to judge and build; with `again` also what failed before."""
    return found.state is State.WANTED or (again and found.state is State.FAILED)


def note(site: Site, found: Following) -> None:
    """Write down what a person has done in MLflow where nothing is to be built for it: takes no longer than a look."""
    _withdraw(read_following(site.storage), found)
    if found.state is State.NO_CHAMPION and _is_news(found):
        _led(site, _note_deleted, found)


def renew(site: Site, found: Following) -> Following:
    """Let a wish that was refused or failed be judged again: a person has made it once more."""
    if found.wanted is None or found.state not in {State.REFUSED, State.FAILED}:
        return found
    _take_back(found.wanted)
    return look(site)


def _led(site: Site, act: Callable[[Site, Following], Following], found: Following) -> Following:
    """Act, as the only process that does; after another one did, there may be nothing left to do."""
    try:
        with Lease(site.storage, "follow", "follows the champion in MLflow"):
            now = look(site)
            return act(site, now) if now.state is found.state else now
    except (Held, LeaseLost, Overtaken) as busy:
        return replace(found, state=State.WAITING, reason="Another process is at work on a release.", detail=str(busy))


def _carry_out(site: Site, found: Following) -> Following:
    assert found.wanted is not None
    by = f"{registry.CHAMPION} in MLflow, followed by {who()}"
    try:
        version = registry.resolve(str(found.wanted))
        if found.serving is not None and _is_kept(site, version) and is_former(version.number, found.serving):
            roll_back(site, to=version, by=by)
        else:
            promote(version, site, FORCED if found.mode == "force" else None, by=by)
    except Refused as refused:
        return _refuse(site, found, refused, by)
    except (Held, LeaseLost, Overtaken, TrackingUnavailable, IndexUnavailable):
        raise
    except RayreelError as error:
        return _fail(site, found, error)
    registry.tag(found.wanted, **registry.UNFOLLOWED | {"follow": "followed", "follow_at": _now()})
    log.info("release %d serves, as the champion in MLflow asks for", found.wanted)
    return look(site)


def _refuse(site: Site, found: Following, refused: Refused, by: str) -> Following:
    assert found.wanted is not None
    gates = [gate.name for gate in refused.gates if not gate.passed]
    _mark(site, found, State.REFUSED, str(refused), gates)
    audit.refused(found.wanted, found.serving, by, str(refused), gates)
    log.warning("the champion in MLflow is refused: %s", refused)
    return _answered(site, found)


def _fail(site: Site, found: Following, error: RayreelError) -> Following:
    _mark(site, found, State.FAILED, f"{type(error).__name__}: {error}", [])
    log.warning("the champion in MLflow cannot be followed: %s", error)
    return _answered(site, found)


def _mark(site: Site, found: Following, answer: State, reason: str, gates: Sequence[str]) -> None:
    assert found.wanted is not None
    registry.tag(
        found.wanted,
        follow=answer.value,
        follow_reason=reason[:_MOST_CHARACTERS],
        follow_gates=json.dumps(gates),
        follow_at=_now(),
        follow_basis=_basis(site, found.serving),
    )


def _answered(site: Site, found: Following) -> Following:
    """The answer that was given to this wish already, by the version's tags; unchanged where there is none."""
    assert found.wanted is not None
    tags = registry.tags(found.wanted)
    answer, detail = tags.get("follow"), tags.get("follow_reason", "")
    if answer not in {State.REFUSED, State.FAILED} or tags.get("follow_basis") != _basis(site, found.serving):
        return found
    names = tuple(json.loads(tags.get("follow_gates", "[]")))
    return replace(found, state=State(answer), reason=_unmet(State(answer), found, names), gates=names, detail=detail)


def _withdraw(before: Following | None, now: Following) -> None:
    """Who points the champion elsewhere takes the wish back; made again, it is judged again."""
    if before is None or before.wanted is None or before.state not in {State.REFUSED, State.FAILED}:
        return
    if now.state not in _UNKNOWN and now.wanted != before.wanted and before.wanted in registry.tags_of_all():
        _take_back(before.wanted)


def _take_back(version: int) -> None:
    registry.tag(version, follow="withdrawn", follow_basis=None)


def _note_deleted(_site: Site, found: Following) -> Following:
    if _is_news(found):
        audit.champion_deleted(found.serving, f"{registry.CHAMPION} in MLflow, seen by {who()}")
    return found


def _is_news(found: Following) -> bool:
    """Whether a champion that is not there was there before, which the trail does not say yet."""
    events = audit.events()
    return found.serving is not None and bool(events) and events[-1]["event"] != _DELETED


def _is_kept(site: Site, version: Version) -> bool:
    return bool(site.client.has_collection(collection_name(version.number), timeout=site.index.timeout_s))


def _basis(site: Site, serving: int | None) -> str:
    """What an answer was given on. The catalog is not part of it: judging again for every video would never end."""
    rules = site.release.gates.model_dump_json() + site.evaluation.model_dump_json() + site.release.follow
    return f"{serving}/{hashlib.blake2b(rules.encode(), digest_size=8).hexdigest()}"


def _unmet(answer: State, found: Following, gates: tuple[str, ...]) -> str:
    goes_on = "Nothing serves" if found.serving is None else f"Release {found.serving} goes on serving"
    if answer is State.REFUSED:
        return (
            f"Version {found.wanted}, at which {registry.CHAMPION} points in MLflow, is refused by {', '.join(gates)}. "
            f"{goes_on}. The version's tag follow_reason says by how much."
        )
    return (
        f"Version {found.wanted}, at which {registry.CHAMPION} points in MLflow, cannot be promoted; its tag "
        f"follow_reason says why. {goes_on}; it is tried again."
    )


def _without_champion(serving: int | None) -> str:
    if serving is None:
        return f"Nothing is promoted. Point {registry.CHAMPION} at a version in MLflow, or run jobs/promote.py."
    return (
        f"{registry.CHAMPION} is not set in MLflow. Release {serving} goes on serving. Point it at version {serving}, "
        "or at another to promote that."
    )


def _index_moved(site: Site, found: Following) -> str:
    behind = "points at no release" if found.serving is None else f"was moved to release {found.serving}"
    return (
        f"The index's alias {site.index.alias} {behind}, not by a promotion, while {registry.CHAMPION} is version "
        f"{found.wanted} as before. Promote the version that is to serve: jobs/promote.py --version …"
    )


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")

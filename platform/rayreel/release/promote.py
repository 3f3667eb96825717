"""Promotion: a registered tower becomes the release that serves."""

import logging
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field
from typing import Literal

from rayreel.index.alias import IndexInUse, aliases_of, collections, drop_collection
from rayreel.release import audit, registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.embed import StoreDifference
from rayreel.release.gates import PromotionRefused, ReleaseGate, pass_through, trust
from rayreel.release.journal import Switch
from rayreel.release.lease import Held, build_lease
from rayreel.release.process import who
from rayreel.release.proofs import golden, sound, whole
from rayreel.release.quality import Judgement, judge
from rayreel.release.registry import Version
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Candidate, Site
from rayreel.release.switch import Standing, settle, standing, switch

__all__ = ["Promotion", "PromotionRefused", "check", "is_current", "promote"]
log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class Promotion:
    """Result of a promotion: the version that serves now, the previous one, the gates, and the dropped releases.

    `taken_from` is the version at MLflow's champion before, if that was neither this version nor the one that served.
    """

    version: Version
    previous: int | None
    gates: list[ReleaseGate] = field(repr=False)
    retired: list[int]
    taken_from: int | None = None


def check(version: Version, site: Site) -> Judgement:
    """Run the gates that need no build. For the version that serves, quality gates are skipped."""
    candidate = Candidate(version, site)
    return _judged(candidate, site.champion(), candidate.compare())


def promote(
    version: Version,
    site: Site,
    force: str | None = None,
    progress: Progress = lambda _stage, _done: None,
    announce: Callable[[], None] = lambda: None,
    *,
    by: str | None = None,
) -> Promotion:
    """Run the gates, build the release beside the serving one, verify it, then switch index alias and registry alias.

    Search follows the index alias, so its switch is the atomic step. `announce` is called right after it. `force` is
    the reason for ignoring failed quality gates, recorded in the audit trail. `by` overrides the recorded user. After a
    kill, the same call continues.

    Raises:
        PromotionRefused: a gate failed. The previous release keeps serving.
        Overtaken: the serving release or MLflow's champion changed in the meantime.
        Held: another process is building the same version.
    """
    settle(site)
    with site.lease(build_lease(version.number), f"promotes version {version.number}") as lease:
        candidate, against = Candidate(version, site), standing(site)
        found = candidate.compare()
        judged = _judged(candidate, _champion(against, site), found)
        pass_through(version, judged.gates, force)
        build(candidate, progress, found)
        gates = [*judged.gates, *_caught_up(candidate, progress), *sound(candidate), *golden(candidate)]
        pass_through(version, gates, force)
        lease.check()
        switch(site, _plan(version, against, Judgement(gates, judged.metrics), force, by or who()), against)
        announce()
        # Pick up writes that reached the store while gates ran, or through a replica that had not seen the switch.
        catch_up(candidate, progress, candidate.compare())
    return Promotion(version, against.serving, gates, retire(site), _taken_from(version, against))


def is_current(version: Version, site: Site) -> bool:
    """Whether this version serves already and its index holds exactly the store's current rows."""
    candidate = Candidate(version, site)
    return site.serving() == version.number and _passed(whole(candidate, candidate.compare()))


def _champion(against: Standing, site: Site) -> Version | None:
    """The version to judge against: the one that serves or, if the index was lost, the last that served."""
    return site.champion() if against.serving is None else registry.find(str(against.serving))


def _caught_up(candidate: Candidate, progress: Progress) -> list[ReleaseGate]:
    """Check rows and index, after adding what was written to the store during the build."""
    found = candidate.compare()
    gates = whole(candidate, found)
    if _passed(gates):
        return gates
    catch_up(candidate, progress, found)
    return whole(candidate, found.after(candidate.rows))


def _passed(gates: Sequence[ReleaseGate]) -> bool:
    return all(gate.passed for gate in gates)


def _judged(candidate: Candidate, champion: Version | None, found: StoreDifference) -> Judgement:
    version, site = candidate.version, candidate.site
    trusted = trust(version, candidate.store.key, found.encoder_keys, site.encoder_key)
    if champion == version or not _passed(trusted):
        return Judgement(trusted, {})
    judged = judge(version, champion, site.jury, candidate.store)
    return Judgement([*trusted, *judged.gates], judged.metrics)


def _plan(version: Version, against: Standing, judged: Judgement, force: str | None, by: str) -> Switch:
    overruled = not _passed(judged.gates)
    return Switch(
        _event(version, against),
        version.number,
        against.serving,
        against.champion,
        by,
        gates=tuple(asdict(gate) for gate in judged.gates),
        metrics=judged.metrics,
        forced_reason=force if overruled else None,
    )


def _event(version: Version, against: Standing) -> Literal["promoted", "restored", "kept"]:
    if against.serving == version.number:
        return "kept"
    lost = against.serving is None and audit.served() == version.number
    return "restored" if lost else "promoted"


def _taken_from(version: Version, against: Standing) -> int | None:
    return against.champion if against.champion not in {None, against.serving, version.number} else None


def retire(site: Site) -> list[int]:
    """Drop collections, rows and snapshots of all but the last `release.keep` former releases; returns their versions.

    Releases with an alias are never dropped. Neither are versions newer than the serving one that were never promoted,
    since they may be under construction. A release that another process is working on, such as a roll-back, is left to
    the next promotion.
    """
    serving = site.serving()
    promoted = {release.version: release.promoted_at for release in audit.history()}
    former = [
        (promoted.get(version, ""), version, name)
        for version, name in collections(site.client, site.index.timeout_s)
        if not aliases_of(site.client, name, site.index.timeout_s)
        and (version in promoted or serving is None or version < serving)
    ]
    beyond = sorted(former, reverse=True)[site.release.keep :]
    return sorted(version for _, version, name in beyond if _drop(site, version, name))


def _drop(site: Site, version: int, name: str) -> bool:
    """Drop a release unless another process is working on it or it serves again; returns whether it was dropped."""
    try:
        with site.lease(build_lease(version), f"drops release {version}"):
            drop_collection(site.client, name, site.index.timeout_s)
            ReleaseRows(site.storage, version).drop()
    except (Held, IndexInUse) as busy:
        log.info("release %d is not dropped yet: %s", version, busy)
        return False
    return True

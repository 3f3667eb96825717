"""Promotion: a registered tower becomes the release that serves."""

from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Literal

from rayreel.features.store import open_store
from rayreel.release import audit, registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.gates import PromotionRefused, ReleaseGate, pass_through, trust
from rayreel.release.journal import Switch
from rayreel.release.lease import build_lease
from rayreel.release.process import who
from rayreel.release.proofs import golden, is_whole, sound
from rayreel.release.quality import Judgement, judge
from rayreel.release.registry import Version
from rayreel.release.retire import retire
from rayreel.release.site import Candidate, Site
from rayreel.release.switch import Standing, settle, standing, switch

__all__ = ["Promotion", "PromotionRefused", "check", "is_current", "promote"]


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
    return _judged(version, site.champion(), site)


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
        judged = _judged(version, _champion(against, site), site)
        pass_through(version, judged.gates, force)
        build(candidate, progress)
        if not is_whole(candidate):  # videos were added or deleted during the build
            catch_up(candidate, progress)
        gates = [*judged.gates, *sound(candidate), *golden(candidate)]
        pass_through(version, gates, force)
        lease.check()
        switch(site, _plan(version, against, Judgement(gates, judged.metrics), force, by or who()), against)
        announce()
        # Pick up writes that reached the store while gates ran, or through a replica that had not seen the switch.
        catch_up(candidate, progress)
    return Promotion(version, against.serving, gates, retire(site), _taken_from(version, against))


def is_current(version: Version, site: Site) -> bool:
    """Whether this version serves already and its index holds exactly the store's current rows."""
    return site.serving() == version.number and is_whole(Candidate(version, site))


def _champion(against: Standing, site: Site) -> Version | None:
    """The version to judge against: the one that serves or, if the index was lost, the last that served."""
    return site.champion() if against.serving is None else registry.find(str(against.serving))


def _judged(version: Version, champion: Version | None, site: Site) -> Judgement:
    trusted = trust(version, open_store(site.storage, version.encoder_key), site.encoder_key)
    if champion == version or not all(gate.passed for gate in trusted):
        return Judgement(trusted, {})
    judged = judge(version, champion, site.jury)
    return Judgement([*trusted, *judged.gates], judged.metrics)


def _plan(version: Version, against: Standing, judged: Judgement, force: str | None, by: str) -> Switch:
    overruled = not all(gate.passed for gate in judged.gates)
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

"""Switch the serving release and MLflow's champion, unless either has changed since the version was judged."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rayreel.errors import RayreelError
from rayreel.index.alias import switch_alias
from rayreel.index.collection import collection_name
from rayreel.release import audit, journal, registry
from rayreel.release.journal import Switch
from rayreel.release.lease import Lease
from rayreel.release.site import Site

# Longest wait for another process's switch, which takes a second or two, and longer if the registry is busy.
PATIENCE_S = 60.0


class Overtaken(RayreelError):
    """The serving release or MLflow's champion changed while a version was judged and built."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The version that serves and the one at MLflow's champion; None if there is none."""

    serving: int | None
    champion: int | None


def standing(site: Site) -> Standing:
    """Return the current state."""
    return Standing(site.serving(), registry.pointed_at(registry.CHAMPION))


def settle(site: Site, patience_s: float = PATIENCE_S) -> Switch | None:
    """Finish the switch of a process that was killed half-way and return it; None if there was none.

    If the champion was set in MLflow since then, it is not changed. Waits up to `patience_s` for a process that is
    switching. Raises Held.
    """
    if journal.under_way(site.storage) is None:
        return None
    with _lease(site, "settles a switch", patience_s):
        return _settle(site)


def switch(site: Site, plan: Switch, against: Standing) -> None:
    """Make the planned version serve and set the champion to it. If it serves already, only set the champion.

    Raises:
        Overtaken: the serving release or the champion differs from `against`. Nothing has been switched.
        Held, LeaseLost: another process is switching.
    """
    with _lease(site, f"switches to version {plan.version}") as lease:
        _settle(site)
        _check_unchanged(standing(site), against, plan.version)
        if against == Standing(plan.version, plan.version):
            return
        plan = replace(plan, at=datetime.now(UTC).isoformat(timespec="microseconds"))
        journal.begin(site.storage, plan)
        lease.check()
        if plan.version != against.serving:
            switch_alias(site.client, site.index.alias, collection_name(plan.version), site.index.timeout_s)
        _finish(site, plan)


def _lease(site: Site, what: str, patience_s: float = PATIENCE_S) -> Lease:
    return site.lease("switch", what, patience_s)


def _settle(site: Site) -> Switch | None:
    plan = journal.under_way(site.storage)
    if plan is None:
        return None
    if site.serving() != plan.version:  # killed before the index alias was switched
        journal.forget(site.storage)
        return None
    _finish(site, plan)
    return plan


def _finish(site: Site, plan: Switch) -> None:
    """Complete a switch of the index in audit trail, registry and journal. Idempotent."""
    audit.record(plan)
    # If the champion was set in MLflow meanwhile, it is kept.
    if registry.pointed_at(registry.CHAMPION) == plan.champion:
        registry.crown(plan.version)
    journal.end(site.storage, plan)


def _check_unchanged(now: Standing, then: Standing, version: int) -> None:
    if now.serving != then.serving:
        raise Overtaken(
            f"Version {version} was judged against {_release(then.serving)}, but {_release(now.serving)} serves now. "
            "Nothing has been switched, and the build is kept. Run the same command again to judge the version against "
            "the release that serves now."
        )
    if now.champion not in {then.champion, version}:
        raise Overtaken(
            f"While version {version} was judged and built, {registry.CHAMPION} was moved in MLflow from "
            f"{_version(then.champion)} to {_version(now.champion)}. Nothing has been switched, and the build is kept. "
            "Run the same command again if this version should serve anyway."
        )


def _release(serving: int | None) -> str:
    return "no release" if serving is None else f"release {serving}"


def _version(champion: int | None) -> str:
    return "no version" if champion is None else f"version {champion}"

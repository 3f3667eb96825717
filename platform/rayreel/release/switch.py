"""The switch: what serves changes, and MLflow's champion with it, if all is still as it was when it was judged."""

from dataclasses import dataclass, replace
from datetime import UTC, datetime

from rayreel.errors import RayreelError
from rayreel.index.alias import switch_alias
from rayreel.index.collection import collection_name
from rayreel.release import audit, journal, registry
from rayreel.release.journal import Switch
from rayreel.release.lease import Lease
from rayreel.release.site import Site

# Switching takes a second or two; with a registry that is busy, some more.
PATIENCE_S = 60.0


class Overtaken(RayreelError):
    """What a version was judged against has changed meanwhile."""


@dataclass(frozen=True, slots=True)
class Standing:
    """The version that serves, and the one that MLflow's champion points at; None where there is none."""

    serving: int | None
    champion: int | None


def standing(site: Site) -> Standing:
    """How things stand now."""
    return Standing(site.serving(), registry.pointed_at(registry.CHAMPION))


def settle(site: Site, patience_s: float = PATIENCE_S) -> Switch | None:
    """Finish the switch of a job that was killed half-way, and return it; None where there was none.

    Only a switch that was begun is finished: a champion that a person has moved in MLflow is left where it is. Waits
    for a switch that another process is at, up to `patience_s`. Raises Held.
    """
    if journal.under_way(site.storage) is None:
        return None
    with _lease(site, "settles a switch", patience_s):
        return _settle(site)


def switch(site: Site, meant: Switch, against: Standing) -> None:
    """Let the version serve and be the champion; with one that serves already, put the champion back to it.

    Raises:
        Overtaken: what serves, or where the champion points, is no longer as it was. Nothing has been switched.
        Held, LeaseLost: another process switches.
    """
    with _lease(site, f"switches to version {meant.version}") as lease:
        _settle(site)
        _still(standing(site), against, meant.version)
        if against == Standing(meant.version, meant.version):
            return
        meant = replace(meant, at=datetime.now(UTC).isoformat(timespec="microseconds"))
        journal.begin(site.storage, meant)
        lease.check()
        if meant.version != against.serving:
            switch_alias(site.client, site.index.alias, collection_name(meant.version), site.index.timeout_s)
        _finish(site, meant)


def _lease(site: Site, what: str, patience_s: float = PATIENCE_S) -> Lease:
    return Lease(site.storage, "switch", what, patience_s=patience_s)


def _settle(site: Site) -> Switch | None:
    meant = journal.under_way(site.storage)
    if meant is None:
        return None
    if site.serving() != meant.version:  # killed before its switch, which was so never made
        journal.forget(site.storage)
        return None
    _finish(site, meant)
    return meant


def _finish(site: Site, meant: Switch) -> None:
    """The index has been switched: let the registry say so, too. May be repeated."""
    audit.record(meant)
    # Somebody who has moved it since then wants it there.
    if registry.pointed_at(registry.CHAMPION) == meant.champion:
        registry.crown(meant.version)
    journal.end(site.storage, meant)


def _still(now: Standing, then: Standing, version: int) -> None:
    if now.serving != then.serving:
        raise Overtaken(
            f"Version {version} was judged against {_release(then.serving)}, but {_release(now.serving)} serves now. "
            "Nothing has been switched, and what was built is kept. Run the same command again: it judges the version "
            "against what serves then."
        )
    if now.champion not in {then.champion, version}:
        raise Overtaken(
            f"While version {version} was judged and built, {registry.CHAMPION} was moved in MLflow from "
            f"{_version(then.champion)} to {_version(now.champion)}. Nothing has been switched, and what was built is "
            "kept. Run the same command again if this version is to serve all the same."
        )


def _release(serving: int | None) -> str:
    return "no release" if serving is None else f"release {serving}"


def _version(champion: int | None) -> str:
    return "no version" if champion is None else f"version {champion}"

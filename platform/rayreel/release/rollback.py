"""Roll back to the previous release in one step."""

from collections.abc import Callable
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.release import registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.gates import ReleaseGate, pass_through
from rayreel.release.journal import Switch
from rayreel.release.lease import build_lease
from rayreel.release.process import who
from rayreel.release.proofs import sound, whole
from rayreel.release.registry import Version
from rayreel.release.site import Candidate, Site
from rayreel.release.switch import Standing, settle, standing, switch


class NothingBefore(RayreelError):
    """There is no earlier release to roll back to."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """Result of a roll-back: the version that serves again, the one it replaced, and the gates."""

    version: Version
    left: Version
    gates: list[ReleaseGate]


def roll_back(
    site: Site,
    progress: Progress = lambda _stage, _done: None,
    announce: Callable[[], None] = lambda: None,
    *,
    to: Version | None = None,
    by: str | None = None,
) -> RolledBack:
    """Bring the previous release up to date with the feature store and switch to it, without quality gates.

    `to` selects an earlier release instead. Videos added or deleted since then are added or deleted there as well; a
    release that was dropped is rebuilt. `announce` is called after the switch. `by` overrides the recorded user. A
    roll-back that was killed after its switch is finished, not repeated.

    Raises:
        NothingBefore: nothing serves, or no release served before.
        PromotionRefused: the previous release failed a check of its index.
        Overtaken: the serving release or MLflow's champion changed in the meantime.
        Held: another process is working on the previous release.
    """
    finished, against = settle(site), standing(site)
    left, before = _finished(finished, to) or _both(against, to)
    with site.lease(build_lease(before.number), f"rolls back to version {before.number}") as lease:
        candidate = Candidate(before, site)
        found = candidate.compare()
        build(candidate, progress, found)
        gates = [*whole(candidate, found.after(candidate.rows)), *sound(candidate)]
        pass_through(before, gates)
        if left.number == against.serving:
            lease.check()
            plan = Switch("rolled back", before.number, left.number, against.champion, by or who())
            switch(site, plan, against)
        announce()
        catch_up(candidate, progress, candidate.compare())
    return RolledBack(before, left, gates)


def is_former(version: int, serving: int) -> bool:
    """Whether a version is among the predecessors of the serving one, by the tags `promoted_from`."""
    seen, former = {serving}, _predecessor(serving)
    while former is not None and former not in seen and former != version:
        seen.add(former)
        former = _predecessor(former)
    return former == version and version != serving


def _predecessor(version: int) -> int | None:
    before = registry.tags(version).get("promoted_from")
    return None if before is None else int(before)


def _finished(done: Switch | None, to: Version | None) -> tuple[Version, Version] | None:
    """The versions of an interrupted roll-back that `settle` has finished; None if there was none or `to` differs."""
    if done is None or done.event != "rolled back" or (to is not None and to.number != done.version):
        return None
    return registry.resolve(str(done.before)), registry.resolve(str(done.version))


def _both(against: Standing, to: Version | None) -> tuple[Version, Version]:
    """The version that serves and the one to roll back to."""
    if against.serving is None:
        raise NothingBefore("No release serves, so there is nothing to roll back. Run `rayreel promote` first.")
    serving = registry.resolve(str(against.serving))
    if to is not None:
        return serving, to
    before = _predecessor(serving.number)
    if before is None:
        raise NothingBefore(
            f"Version {serving.number} is the first that was promoted. Promote another: `rayreel promote --version …`."
        )
    return serving, registry.resolve(str(before))

"""Roll back: the release before serves again, in one step."""

from collections.abc import Callable
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.release import registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.gates import Gate, pass_through
from rayreel.release.journal import Switch
from rayreel.release.lease import Lease, build_lease
from rayreel.release.process import who
from rayreel.release.proofs import sound
from rayreel.release.registry import Version
from rayreel.release.site import Candidate, Site
from rayreel.release.switch import Standing, settle, standing, switch


class NothingBefore(RayreelError):
    """There is no earlier release to go back to."""


@dataclass(frozen=True, slots=True)
class RolledBack:
    """The version that serves again, the one that was left, and what the release proved."""

    version: Version
    left: Version
    gates: list[Gate]


def roll_back(
    site: Site,
    progress: Progress = lambda _stage, _done: None,
    announce: Callable[[], None] = lambda: None,
    *,
    to: Version | None = None,
    by: str | None = None,
) -> RolledBack:
    """Bring the release before the serving one up to the feature store and switch to it. Quality is not asked again.

    `to` is an earlier release to go back to instead. What was added or deleted meanwhile is so there, too; a release
    that is no longer kept is built anew. `announce` is called after the switch. `by` says who rolls back, if not this
    user. A roll-back that was killed after its switch is finished, not repeated.

    Raises:
        NothingBefore: nothing serves, or what serves followed nothing.
        Refused: the release before is not sound.
        Overtaken: another release serves by now, or somebody moved the champion in MLflow meanwhile.
        Held: another process builds the release before.
    """
    finished, against = settle(site), standing(site)
    left, before = _finished(finished, to) or _both(against, to)
    with Lease(site.storage, build_lease(before.number), f"rolls back to version {before.number}") as lease:
        candidate = Candidate(before, site)
        build(candidate, progress)
        gates = sound(candidate)
        pass_through(before, gates)
        if left.number == against.serving:
            lease.check()
            meant = Switch("rolled back", before.number, left.number, against.champion, by or who())
            switch(site, meant, against)
        announce()
        catch_up(candidate, progress)
    return RolledBack(before, left, gates)


def is_former(version: int, serving: int) -> bool:
    """Whether a version served before the one that serves, by what each of them followed."""
    seen, former = {serving}, _followed(serving)
    while former is not None and former not in seen and former != version:
        seen.add(former)
        former = _followed(former)
    return former == version and version != serving


def _followed(version: int) -> int | None:
    before = registry.tags(version).get("promoted_from")
    return None if before is None else int(before)


def _finished(done: Switch | None, to: Version | None) -> tuple[Version, Version] | None:
    """The versions of a roll-back that a kill had left half-way; None where there was none, or it went elsewhere."""
    if done is None or done.event != "rolled back" or (to is not None and to.number != done.version):
        return None
    return registry.resolve(str(done.before)), registry.resolve(str(done.version))


def _both(against: Standing, to: Version | None) -> tuple[Version, Version]:
    """What serves, and what is to serve again."""
    if against.serving is None:
        raise NothingBefore("Nothing serves, so that there is nothing to roll back. Run jobs/promote.py first.")
    serving = registry.resolve(str(against.serving))
    if to is not None:
        return serving, to
    before = registry.tags(serving.number).get("promoted_from")
    if before is None:
        raise NothingBefore(
            f"Version {serving.number} is the first that was promoted. Promote another: jobs/promote.py --version …"
        )
    return serving, registry.resolve(before)

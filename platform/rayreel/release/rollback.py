"""Roll back: the release before serves again, in one step."""

from collections.abc import Callable
from dataclasses import dataclass

from rayreel.errors import RayreelError
from rayreel.index.alias import switch_alias
from rayreel.release import audit, registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.gates import Gate, pass_through
from rayreel.release.proofs import sound
from rayreel.release.registry import Version
from rayreel.release.settle import settle
from rayreel.release.site import Candidate, Site


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
) -> RolledBack:
    """Bring the release before the serving one up to the feature store and switch to it. Quality is not asked again.

    What was added or deleted meanwhile is so there, too; a release that is no longer kept is built anew. `announce` is
    called after the switch. A roll-back that was killed after its switch is finished, not repeated.

    Raises:
        NothingBefore: nothing serves, or what serves followed nothing.
        Refused: the release before is not sound.
    """
    finished = settle(site)
    left, before = (finished, site.champion()) if finished else _both(site)
    assert left is not None and before is not None
    candidate = Candidate(before, site)
    build(candidate, progress)
    gates = sound(candidate)
    pass_through(before, gates)
    if not finished:
        audit.intend_back(left, before)
        switch_alias(site.client, site.index.alias, candidate.collection, site.index.timeout_s)
        audit.rolled_back(left, before)
        registry.crown(before)
    announce()
    catch_up(candidate, progress)
    return RolledBack(before, left, gates)


def _both(site: Site) -> tuple[Version, Version]:
    """What serves, and what served before it."""
    serving = site.champion()
    if serving is None:
        raise NothingBefore("Nothing serves, so that there is nothing to roll back. Run jobs/promote.py first.")
    before = registry.tags(serving).get("promoted_from")
    if before is None:
        raise NothingBefore(
            f"Version {serving.number} is the first that was promoted. Promote another: jobs/promote.py --version …"
        )
    return serving, registry.resolve(before)

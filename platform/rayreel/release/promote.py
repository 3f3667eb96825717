"""Promotion: a registered tower becomes the release that serves."""

from collections.abc import Callable
from dataclasses import dataclass

from rayreel.features.store import open_store
from rayreel.index.alias import switch_alias
from rayreel.release import audit, registry
from rayreel.release.build import Progress, build, catch_up
from rayreel.release.gates import Gate, Refused, pass_through, trust
from rayreel.release.proofs import golden, is_whole, sound
from rayreel.release.quality import Judgement, judge
from rayreel.release.registry import Version
from rayreel.release.retire import retire
from rayreel.release.settle import settle
from rayreel.release.site import Candidate, Site

__all__ = ["Promotion", "Refused", "check", "is_current", "promote"]


@dataclass(frozen=True, slots=True)
class Promotion:
    """What was switched: the version that serves, the one that served before, its gates, and what was dropped."""

    version: Version
    previous: int | None
    gates: list[Gate]
    retired: list[int]


def check(version: Version, site: Site) -> Judgement:
    """The gates that can be asked before anything is built. The version that serves already proves no quality again."""
    trusted = trust(version, open_store(site.storage, version.encoder_key), site.encoder_key)
    champion = site.champion()
    if champion == version or not all(gate.passed for gate in trusted):
        return Judgement(trusted, {})
    judged = judge(version, champion, site.jury)
    return Judgement([*trusted, *judged.gates], judged.metrics)


def promote(
    version: Version,
    site: Site,
    force: str | None = None,
    progress: Progress = lambda _stage, _done: None,
    announce: Callable[[], None] = lambda: None,
) -> Promotion:
    """Ask the gates, build the release beside the serving one, prove it, then switch index alias and registry alias.

    The index alias is the one switch: search follows it. `announce` is called right after it. `force` is the reason
    for which a person overrules gates on quality; it is kept. Killed at any point, the same call goes on.

    Raises:
        Refused: a gate failed. What served before goes on serving.
    """
    settle(site)
    candidate, previous = Candidate(version, site), site.serving()
    judged = check(version, site)
    pass_through(version, judged.gates, force)
    build(candidate, progress)
    if not is_whole(candidate):  # videos came or went meanwhile
        catch_up(candidate, progress)
    gates = [*judged.gates, *sound(candidate), *golden(candidate)]
    pass_through(version, gates, force)
    if previous != version.number:
        _switch(candidate, previous, Judgement(gates, judged.metrics), force)
    announce()
    # What reached the store while the gates were asked, or by a replica that had not heard yet, reaches this release.
    catch_up(candidate, progress)
    return Promotion(version, previous, gates, retire(site))


def is_current(version: Version, site: Site) -> bool:
    """Whether this version serves already, with an index of exactly the store's current rows."""
    serves = site.serving() == version.number and registry.find(registry.CHAMPION) == version
    return serves and is_whole(Candidate(version, site))


def _switch(candidate: Candidate, previous: int | None, judged: Judgement, force: str | None) -> None:
    site, version = candidate.site, candidate.version
    if registry.find(registry.CHAMPION) != version:  # else only its index was lost
        audit.intend(version, previous, judged.gates, judged.metrics, force)
    switch_alias(site.client, site.index.alias, candidate.collection, site.index.timeout_s)
    audit.promoted(version)
    registry.crown(version)

"""Bringing a release up to date with the feature store, and repairing it."""

from typing import Any

from rayreel.cli.output import console, facts, note, step
from rayreel.cli.steps.promote import site_of, stage_bars
from rayreel.errors import RayreelError
from rayreel.features.store import NoFeatures
from rayreel.release import registry
from rayreel.release.fill import verify
from rayreel.release.increment import Brought, in_turn
from rayreel.release.mend import amendments_among, mend_snapshot, restore_amendments, set_broken_aside
from rayreel.release.site import Candidate, Site
from rayreel.settings import Settings
from rayreel.storage import BrokenFile
from serve_apps.notify import bring_service_up_to_date


class NothingServes(RayreelError):
    """There is no release to bring up to date."""


class StillDifferent(RayreelError):
    """Store and index still differ after the repair."""


def update_release(
    settings: Settings, version: str | None, *, repair: bool = False, snapshot: bool = False
) -> tuple[Candidate, dict[str, Any]]:
    """Bring a release up to date; with `repair`, repair it first and verify it afterwards.

    `version` is a number or an alias; None: the release that serves. Returns the release and the numbers for --json.
    Raises NothingServes, Held, StillDifferent.
    """
    settings.place.sweep()
    broken = _set_aside(settings) if repair else []
    candidate = _candidate(site_of(settings), version)
    found = repair_release(candidate, broken) if repair else {}
    done = _bring(candidate, snapshot=snapshot)
    if repair:
        _verify_repair(candidate, done)
    return candidate, {"release": candidate.version.number, **done._asdict(), "found": found}


def _candidate(site: Site, name: str | None) -> Candidate:
    version = site.champion() if name is None else registry.resolve(name)
    if version is None:
        raise NothingServes("No release serves yet. Run `rayreel promote`, or name a --version to prepare.")
    return Candidate(version, site)


def _bring(candidate: Candidate, *, snapshot: bool) -> Brought:
    step(f"Bringing release {candidate.version.number} up to date with {candidate.version.encoder_key}")
    with stage_bars() as on_stage:
        done = bring_service_up_to_date(candidate, snapshot=snapshot, progress=on_stage)
    rows: dict[str, object] = {"new": done.new, "changed": done.changed, "deleted": done.deleted}
    if done.blind:
        rows["no modality of the tower"] = done.blind
    rows |= {"videos in the release": done.videos, "snapshot": done.snapshot or "unchanged"}
    console.print(facts("Index", rows))
    return done


def _set_aside(settings: Settings) -> list[BrokenFile]:
    """Rename damaged files, list them, and say how to replace them."""
    step(f"Reading every file below {settings.place.root}")
    broken = set_broken_aside(settings.place)
    for file in broken:
        note(f"  set aside: {file.path}: {file.cause}")
    if any("/features/" in file.path or "/quarantine/" in file.path for file in broken):
        note("Run `rayreel extract` with your --catalog to extract the videos of these files again.")
    if any(file.path.endswith("/catalog/current.parquet") for file in broken):
        raise NoFeatures(
            "The current catalog was damaged. Run `rayreel extract` with your --catalog, then this command again."
        )
    return broken


def repair_release(candidate: Candidate, broken: list[BrokenFile]) -> dict[str, int]:
    """Restore what was set aside, then the index. Return the differences found, by kind.

    Waits for other processes that work on the release. Raises Held.
    """
    with in_turn(candidate, f"repairs release {candidate.version.number}"):
        _mend(candidate, broken)
        return _repair_index(candidate)


def _mend(candidate: Candidate, broken: list[BrokenFile]) -> None:
    """Restore amendments from the release, and the snapshot from its rows."""
    site, rows = candidate.site, candidate.rows
    if amendments_among(site.storage, broken):
        restored = restore_amendments(candidate.store, rows)
        for name, ids in restored._asdict().items():
            note(f"  {name} again, according to the release: {', '.join(ids) or 'nothing'}")
    damage = mend_snapshot(site.storage, rows, site.release.neighbours, site.release.spaces, site.release.words)
    if damage is not None:
        note(f"  snapshot rewritten: {damage.path}: {damage.cause}")


def _repair_index(candidate: Candidate) -> dict[str, int]:
    """Apply the rows to the collection. Show and return how they differed. Rows are brought up to date afterwards."""
    step(f"Comparing release {candidate.version.number} with its index and the feature store")
    site, rows = candidate.site, candidate.rows
    rows_differ = candidate.compare()
    counts = {"rows: missing or stale": len(rows_differ.missing), "rows: surplus": len(rows_differ.surplus)}
    if site.client.has_collection(candidate.collection, timeout=site.index.timeout_s):
        last = rows.read(columns=[]).last
        found = verify(site.client, rows, candidate.collection, site.index, repair=True)
        if not rows.marker():  # it was set aside; without a marker, the collection would be rebuilt
            rows.set_marker(last)
        counts |= {f"index: {kind}": len(ids) for kind, ids in found._asdict().items()}
    console.print(facts("Found", counts))
    return counts


def _verify_repair(candidate: Candidate, done: Brought) -> None:
    site = candidate.site
    rows_differ = candidate.compare()
    missing, surplus = rows_differ.missing, rows_differ.surplus
    found = verify(site.client, candidate.rows, candidate.collection, site.index, repair=False)
    if any(found) or surplus or len(missing) > done.blind:
        raise StillDifferent(
            f"After the repair, {len(missing) - done.blind} rows are missing and {len(surplus)} surplus; in the index, "
            f"{len(found.missing)} are missing, {len(found.stale)} stale and {len(found.surplus)} surplus. Another "
            "process may be writing. Run the command again."
        )
    console.print("Store, rows and index hold the same videos in the same versions.")

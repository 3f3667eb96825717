"""Bring a release up to date with the feature store: new, changed and deleted videos, without a rebuild."""

from typing import Annotated

import typer

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, following, run, step
from promote import site_of, stage_bars
from rayreel.errors import RayreelError
from rayreel.features.store import NoFeatures, open_store
from rayreel.release import registry
from rayreel.release.embed import compare
from rayreel.release.fill import verify
from rayreel.release.increment import Brought, in_turn
from rayreel.release.mend import amendments_among, mend_snapshot, restore_amendments, set_broken_aside
from rayreel.release.site import Candidate, Site
from rayreel.settings import Settings, load_settings
from rayreel.storage import BrokenFile
from rayreel.training.tracking import use_tracking
from serve_apps.increment import bring_service_up_to_date


class NothingServes(RayreelError):
    """There is no release to bring up to date."""


class StillDifferent(RayreelError):
    """Store and index still differ after the repair."""


def main(
    version: Annotated[
        str | None, typer.Option(help="Number or alias in the registry. [default: the release that serves]")
    ] = None,
    repair: Annotated[
        bool,
        typer.Option(
            "--verify", help="Set broken files aside, compare store, rows and index video by video, and repair."
        ),
    ] = False,
    snapshot: Annotated[
        bool, typer.Option("--snapshot", help="Make a new snapshot, however little has changed.")
    ] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Bring a release up to date with the feature store: embed new and changed videos, remove deleted ones.

    Serving continues, and a running service is notified. After a kill, run the same command again to continue.
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    settings.place.sweep()
    broken = _set_aside(settings) if repair else []
    candidate = _candidate(site_of(settings), version)
    if repair:
        repair_release(candidate, broken)
    done = _bring(candidate, snapshot=snapshot)
    if repair:
        _prove(candidate, done)
    serving = following("serve", settings, config, sets or [])
    finish(
        f"{candidate.collection} and {candidate.rows.folder}",
        f"nothing to do if a service is running; otherwise {serving}",
    )


def _candidate(site: Site, name: str | None) -> Candidate:
    version = site.champion() if name is None else registry.resolve(name)
    if version is None:
        raise NothingServes("No release serves yet. Run jobs/promote.py, or name a --version to prepare.")
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
        console.print(f"  set aside: {file.path}: {file.cause}", highlight=False)
    if any("/features/" in file.path or "/quarantine/" in file.path for file in broken):
        console.print("Run jobs/extract.py with your --catalog to extract the videos of these files again.")
    if any(file.path.endswith("/catalog/current.parquet") for file in broken):
        raise NoFeatures(
            "The current catalog was damaged. Run jobs/extract.py with your --catalog, then this command again."
        )
    return broken


def repair_release(candidate: Candidate, broken: list[BrokenFile]) -> None:
    """Restore what was set aside, then the index. Waits for other processes that work on the release. Raises Held."""
    with in_turn(candidate, f"repairs release {candidate.version.number}"):
        _mend(candidate, broken)
        _repair_index(candidate)


def _mend(candidate: Candidate, broken: list[BrokenFile]) -> None:
    """Restore amendments from the release, and the snapshot from its rows."""
    site, rows = candidate.site, candidate.rows
    if amendments_among(site.storage, broken):
        restored = restore_amendments(open_store(site.storage, candidate.version.encoder_key), rows)
        for name, ids in restored._asdict().items():
            console.print(f"  {name} again, according to the release: {', '.join(ids) or 'nothing'}", highlight=False)
    damage = mend_snapshot(site.storage, rows, site.release.neighbours)
    if damage is not None:
        console.print(f"  snapshot rewritten: {damage.path}: {damage.cause}", highlight=False)


def _repair_index(candidate: Candidate) -> None:
    """Apply the rows to the collection and show how both differed. Rows are brought up to date afterwards."""
    step(f"Comparing release {candidate.version.number} with its index and the feature store")
    site, rows = candidate.site, candidate.rows
    missing, surplus = compare(open_store(site.storage, candidate.version.encoder_key), rows)
    counts = {"rows: missing or stale": len(missing), "rows: surplus": len(surplus)}
    if site.client.has_collection(candidate.collection, timeout=site.index.timeout_s):
        last = rows.read(columns=[]).last
        found = verify(site.client, rows, candidate.collection, site.index, repair=True)
        if not rows.marker():  # it was set aside, and without one the collection would be rebuilt
            rows.set_marker(last)
        counts |= {f"index: {kind}": len(ids) for kind, ids in found._asdict().items()}
    console.print(facts("Found", counts))


def _prove(candidate: Candidate, done: Brought) -> None:
    site = candidate.site
    missing, surplus = compare(open_store(site.storage, candidate.version.encoder_key), candidate.rows)
    found = verify(site.client, candidate.rows, candidate.collection, site.index, repair=False)
    if any(found) or surplus or len(missing) > done.blind:
        raise StillDifferent(
            f"After the repair, {len(missing) - done.blind} rows are missing and {len(surplus)} surplus; in the index, "
            f"{len(found.missing)} are missing, {len(found.stale)} stale and {len(found.surplus)} surplus. Another "
            "process may be writing. Run the command again."
        )
    console.print("Store, rows and index hold the same videos in the same versions.")


if __name__ == "__main__":
    run(main)

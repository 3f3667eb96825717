"""Bring a release up to date with the feature store: new, changed and deleted videos, without building it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, following, run, step
from promote import site_of
from rayreel.errors import RayreelError
from rayreel.features.compact import compact
from rayreel.features.store import NoFeatures, open_store
from rayreel.release import registry
from rayreel.release.build import Progress as Heard
from rayreel.release.embed import compare
from rayreel.release.fill import verify
from rayreel.release.increment import Brought, bring_up_to_date
from rayreel.release.mend import amendments_among, mend_snapshot, restore_amendments, set_broken_aside
from rayreel.release.site import Candidate, Site
from rayreel.settings import Settings, load_settings
from rayreel.storage import BrokenFile
from rayreel.training.tracking import use_tracking
from serve_apps.notify import notify_service


class NothingServes(RayreelError):
    """There is no release to bring up to date."""


class StillDifferent(RayreelError):
    """Store and index differ after they were repaired."""


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
    """Bring a release up to date with the feature store: embed what is new or changed, take out what is gone.

    Serving goes on, and a running service is told. Killed at any point, the same command goes on where it was.
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    settings.place.sweep()
    broken = _set_aside(settings) if repair else []
    candidate = _candidate(site_of(settings), version)
    if repair:
        _mend(candidate, broken)
        _repair(candidate)
    done = _bring(candidate, snapshot=snapshot)
    if repair:
        _prove(candidate, done)
    serving = following("serve", settings, config, sets or [])
    finish(
        f"{candidate.collection} and {candidate.rows.folder}",
        f"nothing to do: a service that runs answers from it; without one, {serving}",
    )


def _candidate(site: Site, name: str | None) -> Candidate:
    version = site.champion() if name is None else registry.resolve(name)
    if version is None:
        raise NothingServes("No release serves yet. Run jobs/promote.py, or name a --version to prepare.")
    return Candidate(version, site)


def _bring(candidate: Candidate, *, snapshot: bool) -> Brought:
    site = candidate.site
    step(f"Bringing release {candidate.version.number} up to date with {candidate.version.encoder_key}")
    with _progress() as heard:
        done = bring_up_to_date(candidate, snapshot=snapshot, progress=heard)
    notify_service()
    compact(open_store(site.storage, candidate.version.encoder_key), on=site.release.read_on)
    rows: dict[str, object] = {"new": done.new, "changed": done.changed, "deleted": done.deleted}
    if done.blind:
        rows["nothing that the tower sees"] = done.blind
    rows |= {"videos in the release": done.videos, "snapshot": done.snapshot or "as it was"}
    console.print(facts("Index", rows))
    return done


def _set_aside(settings: Settings) -> list[BrokenFile]:
    """Rename damaged files, and name them with what replaces them."""
    step(f"Reading every file below {settings.place.root}")
    broken = set_broken_aside(settings.place)
    for file in broken:
        console.print(f"  set aside: {file.path}: {file.cause}", highlight=False)
    if any("/features/" in file.path or "/quarantine/" in file.path for file in broken):
        console.print("Run jobs/extract.py with your --catalog: it extracts the videos of these files again.")
    if any(file.path.endswith("/catalog/current.parquet") for file in broken):
        raise NoFeatures("The current catalog was broken. Run jobs/extract.py with your --catalog, then this again.")
    return broken


def _mend(candidate: Candidate, broken: list[BrokenFile]) -> None:
    """Make again what was set aside and can be made: amendments from the release, the snapshot from its rows."""
    site, rows = candidate.site, candidate.rows
    if amendments_among(site.storage, broken):
        restored = restore_amendments(open_store(site.storage, candidate.version.encoder_key), rows)
        for name, ids in restored._asdict().items():
            console.print(f"  {name} again, as the release says: {', '.join(ids) or 'nothing'}", highlight=False)
    damage = mend_snapshot(site.storage, rows, site.release.neighbours)
    if damage is not None:
        console.print(f"  snapshot made again: {damage.path}: {damage.cause}", highlight=False)


def _repair(candidate: Candidate) -> None:
    """Make the collection what the rows say, and tell how it differed; rows follow the store right after."""
    step(f"Comparing release {candidate.version.number} with its index and the feature store")
    site, rows = candidate.site, candidate.rows
    lacking, surplus = compare(open_store(site.storage, candidate.version.encoder_key), rows)
    told = {"rows: not there or of another version": len(lacking), "rows: too many": len(surplus)}
    if site.client.has_collection(candidate.collection, timeout=site.index.timeout_s):
        last = rows.read(columns=[]).last
        found = verify(site.client, rows, candidate.collection, site.index, repair=True)
        if not rows.marker():  # it was set aside; without one the collection would be built from nothing
            rows.set_marker(last)
        told |= {"index: not there": len(found.missing), "index: of another version": len(found.stale)}
        told |= {"index: too many": len(found.surplus)}
    console.print(facts("Found", told))


def _prove(candidate: Candidate, done: Brought) -> None:
    site = candidate.site
    lacking, surplus = compare(open_store(site.storage, candidate.version.encoder_key), candidate.rows)
    found = verify(site.client, candidate.rows, candidate.collection, site.index, repair=False)
    if any(found) or surplus or len(lacking) > done.blind:
        raise StillDifferent(
            f"{len(lacking) - done.blind} rows lack, {len(surplus)} are too many; of the index {len(found.missing)} "
            f"lack, {len(found.stale)} are old, {len(found.surplus)} too many. Somebody may be writing: run it again."
        )
    console.print("Store, rows and index hold the same videos in the same versions.")


@contextmanager
def _progress() -> Iterator[Heard]:
    """A bar for each stage that there is something to do in."""
    with Progress(console=console) as bar:
        tasks: dict[str, TaskID] = {}

        def heard(stage: str, done: int) -> None:
            if stage not in tasks:
                tasks[stage] = bar.add_task(stage, total=None)
            bar.update(tasks[stage], completed=done)

        yield heard


if __name__ == "__main__":
    run(main)

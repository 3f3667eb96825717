"""Bring a release up to date with the feature store: new, changed and deleted videos, without building it anew."""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Annotated

import typer
from rich.progress import Progress, TaskID

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, run, step
from promote import site_of
from rayreel.errors import RayreelError
from rayreel.features.compact import compact
from rayreel.features.store import open_store
from rayreel.release import registry
from rayreel.release.build import Progress as Heard
from rayreel.release.embed import compare
from rayreel.release.fill import verify
from rayreel.release.increment import Brought, bring_up_to_date
from rayreel.release.site import Candidate, Site
from rayreel.settings import load_settings
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
        bool, typer.Option("--verify", help="Compare store, rows and index video by video, and repair.")
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
    candidate = _candidate(site_of(settings), version)
    if repair:
        _repair(candidate)
    done = _bring(candidate, snapshot=snapshot)
    if repair:
        _prove(candidate, done)
    finish(
        f"{candidate.collection} and {candidate.rows.folder}",
        "nothing to do: a service that runs answers from it; without one, make serve",
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


def _repair(candidate: Candidate) -> None:
    """Make the collection what the rows say, and tell how it differed; rows follow the store right after."""
    step(f"Comparing release {candidate.version.number} with its index and the feature store")
    site, rows = candidate.site, candidate.rows
    lacking, surplus = compare(open_store(site.storage, candidate.version.encoder_key), rows)
    told = {"rows: not there or of another version": len(lacking), "rows: too many": len(surplus)}
    if site.client.has_collection(candidate.collection, timeout=site.index.timeout_s):
        found = verify(site.client, rows, candidate.collection, site.index, repair=True)
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

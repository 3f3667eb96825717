"""Promote a registered tower: ask its gates, build its index, switch search to it; or go back to the one before."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Annotated

import typer
from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, following, run, step, store_name, use_ray
from rayreel.errors import RayreelError
from rayreel.index.collection import collection_name
from rayreel.release import registry
from rayreel.release.build import Progress as Heard
from rayreel.release.gates import Gate, Refused, pass_through
from rayreel.release.promote import Promotion, promote
from rayreel.release.promote import check as check_gates
from rayreel.release.registry import Version
from rayreel.release.rollback import RolledBack, roll_back
from rayreel.release.site import Site
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking
from serve_apps.notify import notify_service


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = registry.CHALLENGER,
    force: Annotated[
        str | None,
        typer.Option(
            metavar="REASON", help="Promote although gates on quality fail; the reason is kept for the audit."
        ),
    ] = None,
    rollback: Annotated[bool, typer.Option("--rollback", help="Let the release before the present one serve.")] = False,
    check: Annotated[bool, typer.Option("--check", help="Only ask the gates; build and switch nothing.")] = False,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Build the version's release beside the serving one, prove it, and switch search and the champion to it.

    Gates (release.gates) come first: better than the champion, above every content baseline, sound. A refused version
    changes nothing. Killed at any point, the same command goes on where it was.
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    if check:
        check_tower(settings, registry.resolve(version))
        return
    done = roll_back_release(settings) if rollback else promote_tower(settings, registry.resolve(version), force)
    number = done.version.number
    finish(
        f"collection {collection_name(number)}, aliases {settings.index.alias} and {registry.CHAMPION}",
        f"{following('serve', settings, config, sets or [])}; a service that runs already answers from this release",
    )


def check_tower(settings: Settings, version: Version) -> None:
    """Ask the gates that can be asked before anything is built, and show them."""
    step(f"Asking the gates of {registry.MODEL} version {version.number}")
    gates = check_gates(version, _promoting(settings)).gates
    console.print(shown(gates))
    pass_through(version, gates)
    console.print("Every gate that can be asked before the index is built has passed.")


def promote_tower(settings: Settings, version: Version, force: str | None = None) -> Promotion:
    """Promote, and show the gates and what was switched. Raises Refused."""
    if force is not None and not force.strip():
        raise RayreelError(
            '--force needs a reason, such as --force "first tower with sound": it is kept for the audit.'
        )
    step(f"Promoting {registry.MODEL} version {version.number}")
    try:
        with _progress() as heard:
            done = promote(version, _promoting(settings), force, heard, notify_service)
    except Refused as refused:
        console.print(shown(refused.gates))
        raise
    console.print(shown(done.gates))
    told: dict[str, object] = {"release": version.number, "before": done.previous or "none"}
    if forced := [gate.name for gate in done.gates if not gate.passed]:
        told |= {"forced against": ", ".join(forced), "reason": force}
    if done.taken_from:
        told[f"{registry.CHAMPION} in MLflow"] = f"was version {done.taken_from}, which did not serve"
    if done.retired:
        told["dropped"] = ", ".join(collection_name(number) for number in done.retired)
    console.print(facts("Promotion", told))
    return done


def roll_back_release(settings: Settings) -> RolledBack:
    """Let the release before the present one serve again, and show what was switched."""
    step("Rolling back to the release before")
    with _progress() as heard:
        done = roll_back(site_of(settings), heard, notify_service)
    console.print(shown(done.gates))
    console.print(facts("Roll-back", {"release": done.version.number, "before": done.left.number}))
    return done


def site_of(settings: Settings) -> Site:
    """Where these settings make releases; joins or starts Ray, which the embedded Milvus needs."""
    use_ray()
    return settings.site()


def _promoting(settings: Settings) -> Site:
    return replace(site_of(settings), encoder_key=store_name(settings))


def shown(gates: Sequence[Gate]) -> Table:
    """The gates as a table, failed ones in red."""
    table = Table("", "gate", "found", title="Gates", title_justify="left")
    for gate in gates:
        verdict = "[green]passed[/]" if gate.passed else "[bold red]failed[/]"
        table.add_row(verdict, escape(gate.name), escape(gate.finding))
    return table


@contextmanager
def _progress() -> Iterator[Heard]:
    """A bar for each stage in which there is something to do; none where there is nothing."""
    bar, tasks = Progress(console=console), dict[str, TaskID]()

    def heard(stage: str, done: int) -> None:
        bar.start()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=None)
        bar.update(tasks[stage], completed=done)

    try:
        yield heard
    finally:
        if tasks:
            bar.stop()


if __name__ == "__main__":
    run(main)

"""Promoting a tower and rolling back, with gates and stages shown."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import Any

from rich.markup import escape
from rich.progress import Progress, TaskID
from rich.table import Table

from rayreel.cli.output import console, facts, note, step
from rayreel.cli.steps.ray_session import use_ray
from rayreel.encoders.adopted import forget_adopted
from rayreel.errors import RayreelError
from rayreel.index.collection import collection_name
from rayreel.release import registry
from rayreel.release.build import Progress as OnStage
from rayreel.release.gates import PromotionRefused, ReleaseGate, pass_through
from rayreel.release.promote import Promotion, promote
from rayreel.release.promote import check as check_gates
from rayreel.release.registry import Version
from rayreel.release.rollback import roll_back
from rayreel.release.rows import ReleaseRows
from rayreel.release.site import Site
from rayreel.settings import Settings
from serve_apps.notify import notify_service


def check_tower(settings: Settings, version: Version) -> dict[str, Any]:
    """Run the gates that need no build, and show them. Raises PromotionRefused."""
    step(f"Running the gates of {registry.MODEL} version {version.number}")
    gates = check_gates(version, promoting_site(settings)).gates
    console.print(gates_table(gates))
    pass_through(version, gates)
    console.print("Every gate that needs no index has passed.")
    return {"version": version.number, "gates": [asdict(gate) for gate in gates]}


def promote_tower(settings: Settings, version: Version, force: str | None = None) -> Promotion:
    """Promote, and show the gates and what was switched. Raises PromotionRefused."""
    if force is not None and not force.strip():
        raise RayreelError('--force needs a reason for the audit trail, such as --force "first tower with sound".')
    step(f"Promoting {registry.MODEL} version {version.number}")
    try:
        with stage_bars() as on_stage:
            done = promote(version, promoting_site(settings), force, on_stage, notify_service)
    except PromotionRefused as refused:
        console.print(gates_table(refused.gates))
        raise
    console.print(gates_table(done.gates))
    rows: dict[str, object] = {"release": version.number, "before": done.previous or "none"}
    if (smoothing := ReleaseRows(settings.place, version.number).smoothing()).neighbours:
        rows["vectors averaged with"] = smoothing
    if forced := [gate.name for gate in done.gates if not gate.passed]:
        rows |= {"forced against": ", ".join(forced), "reason": force}
    if done.taken_from:
        rows[f"{registry.CHAMPION} in MLflow"] = f"was version {done.taken_from}, which did not serve"
    if done.retired:
        rows["dropped"] = ", ".join(collection_name(number) for number in done.retired)
    console.print(facts("Promotion", rows))
    _forget_adopted(settings, version)
    return done


def as_dict(done: Promotion) -> dict[str, Any]:
    """Return a promotion for --json."""
    numbers = {"release": done.version.number, "previous": done.previous, "taken_from": done.taken_from}
    return numbers | {"retired": done.retired, "gates": [asdict(gate) for gate in done.gates]}


def roll_back_release(settings: Settings) -> dict[str, Any]:
    """Roll back to the previous release, and show what was switched."""
    step("Rolling back to the previous release")
    with stage_bars() as on_stage:
        done = roll_back(site_of(settings), on_stage, notify_service)
    console.print(gates_table(done.gates))
    console.print(facts("Roll-back", {"release": done.version.number, "before": done.left.number}))
    _forget_adopted(settings, done.version)
    numbers = {"release": done.version.number, "previous": done.left.number}
    return numbers | {"gates": [asdict(gate) for gate in done.gates]}


def _forget_adopted(settings: Settings, version: Version) -> None:
    if forget_adopted(settings.place, version.encoder_key):
        note("The adopted encoders are no longer the default: this release has others. Settings choose them again.")


def site_of(settings: Settings) -> Site:
    """Connect to the storage and index of these settings. Joins or starts Ray, which the embedded Milvus needs."""
    use_ray()
    return settings.site()


def promoting_site(settings: Settings) -> Site:
    """As `site_of`, with the key of the encoders that queries are encoded with."""
    return replace(site_of(settings), encoder_key=settings.encoder_key)


def gates_table(gates: Sequence[ReleaseGate]) -> Table:
    """Return the gates as a table, failed ones in red."""
    table = Table("", "gate", "found", title="Gates", title_justify="left")
    for gate in gates:
        verdict = "[green]passed[/]" if gate.passed else "[bold red]failed[/]"
        table.add_row(verdict, escape(gate.name), escape(gate.finding))
    return table


@contextmanager
def stage_bars() -> Iterator[OnStage]:
    """Show a progress bar for each stage that reports progress, and nothing if none does."""
    bar, tasks = Progress(console=console), dict[str, TaskID]()

    def on_stage(stage: str, done: int) -> None:
        bar.start()
        if stage not in tasks:
            tasks[stage] = bar.add_task(stage, total=None)
        bar.update(tasks[stage], completed=done)

    try:
        yield on_stage
    finally:
        if tasks:
            bar.stop()

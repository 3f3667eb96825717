"""What was measured of serving, for people."""

from collections.abc import Iterator

from rich.table import Table

from benchmarks.serving.arrivals import Outcome
from benchmarks.serving.compare import BARE, LAWS, MILVUS, SERVICE, Climb, Comparison
from benchmarks.serving.ladder import best
from benchmarks.serving.queries import Law
from benchmarks.serving.uploads import Uploads

QUANTILES = {"p50 ms": 0.5, "p95 ms": 0.95, "p99 ms": 0.99, "max ms": 1.0}
# At 20,000 videos on two cores.
TARGETS = {"uniform": 1.0, "zipf": 1.5}
OVERHEAD_MS = 4.0


def rungs_table(climb: Climb) -> Table:
    """Every rate that was tried of one server."""
    table = Table(
        "requests/s", *QUANTILES, "failed", "held", title=f"{climb.server}, {climb.law} ids", title_justify="left"
    )
    for rung in climb.rungs:
        table.add_row(
            f"{rung.rate:.0f}", *_quantiles(rung.outcome), str(rung.outcome.failed), "yes" if rung.held else "no"
        )
    return table


def climbs_table(found: Comparison) -> Table:
    """The highest rate of each server, and its ratio to the bare one."""
    title = "Highest rate held at p99 <= 100 ms"
    table = Table("server", "ids", "requests/s", *QUANTILES, "ratio to bare", "target", title=title)
    for climb in found.climbs:
        top = best(climb.rungs)
        cells = _quantiles(top.outcome) if top else [""] * len(QUANTILES)
        own = climb.server == SERVICE
        ratio = _ratio(found, climb.law) if own else None
        table.add_row(
            climb.server,
            climb.law,
            f"{climb.rate:.0f}",
            *cells,
            "" if ratio is None else f"{ratio:.2f} x",
            f"{TARGETS[climb.law]:.1f} x" if own else "",
        )
    return table


def calm_table(found: Comparison) -> Table:
    """What one request costs when nothing waits."""
    table = Table("20 requests/s", *QUANTILES, "failed", title_justify="left")
    for calm in found.calm:
        table.add_row(calm.what, *_quantiles(calm.outcome), str(calm.outcome.failed))
    return table


def verdicts(found: Comparison) -> Iterator[str]:
    """Each target and whether it is met."""
    for law in LAWS:
        ratio = _ratio(found, law)
        if ratio is None:
            yield f"{law} ids: not judged, the bare server held no rate. Something else keeps the machine busy."
            continue
        rates = f"{found.rate(SERVICE, law):.0f} against {found.rate(BARE, law):.0f} a second"
        said = "met" if ratio >= TARGETS[law] else "missed"
        yield f"{law} ids: {rates}, {ratio:.2f} x of {TARGETS[law]} x: {said}"
    p50 = {calm.what: calm.outcome.quantile_ms(0.5) for calm in found.calm}
    for what, value in p50.items():
        if what != MILVUS:
            over = value - p50[MILVUS]
            said = "met" if over <= OVERHEAD_MS else "missed"
            yield f"{what}: {over:+.1f} ms over {MILVUS} at p50, at most {OVERHEAD_MS:.0f} ms: {said}"


def uploads_table(measured: list[Uploads]) -> Table:
    """Every rate of uploads that was tried, with and without batching, and which was the highest held."""
    table = Table("batching", "uploads/s", *QUANTILES, "failed", "held at p99 <= 1 s", title_justify="left")
    for uploads in measured:
        top = best(uploads.rungs)
        for rung in uploads.rungs:
            held = "highest" if rung is top else "yes" if rung.held else "no"
            row = [uploads.batching, f"{rung.rate:.1f}", *_quantiles(rung.outcome), str(rung.outcome.failed), held]
            table.add_row(*row)
    return table


def _ratio(found: Comparison, law: Law) -> float | None:
    """The service's highest rate over the bare server's; None where that held none."""
    bare = found.rate(BARE, law)
    return found.rate(SERVICE, law) / bare if bare else None


def _quantiles(outcome: Outcome) -> list[str]:
    return [f"{outcome.quantile_ms(share):.1f}" for share in QUANTILES.values()]

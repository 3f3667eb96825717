"""What people see of simulated and real clusters."""

from collections.abc import Sequence

import numpy as np
from rich.table import Table

from benchmarks.scaling.costs import Costs
from benchmarks.scaling.local import Compared
from benchmarks.scaling.simulated import Simulated
from benchmarks.scaling.sweep import Load, Size


def costs_table(costs: Costs, per_block: int) -> Table:
    """Measured cost of a block, its spread, and of a video; Ray's are of blocks of `per_block` videos."""
    table = Table("core time", "mean", "p5", "p95", "a video", title="What a block costs", title_justify="left")
    stages = {"decode": costs.decode_s, "encode": costs.encode_s, "store": costs.store_s}
    for name, seconds in stages.items():
        mean, (low, high) = float(seconds.mean()), np.quantile(seconds, [0.05, 0.95])
        what = f"{name}, {costs.videos} videos"
        table.add_row(what, _ms(mean), _ms(low), _ms(high), _ms(mean / costs.videos))
    for name, mean in {"driver": costs.overhead.driver_s, "nodes": costs.overhead.node_s}.items():
        table.add_row(f"Ray on the {name}, {per_block} videos", _ms(mean), "", "", _ms(mean / per_block))
    return table


def sweep_table(sizes: Sequence[Size], load: Load) -> Table:
    """Efficiency by number of nodes: with work in proportion, in two ways, and with the same work."""
    ways = ("steady", "with room", f"{load.fixed:,} videos")
    table = Table("nodes", *(f"{way}: {what}" for way in ways for what in ("efficiency", "videos/s", "limit")))
    table.add_column("hours")
    table.add_column("core-hours")
    table.title, table.title_justify = "Efficiency against nodes, simulated", "left"
    for size in sizes:
        cells = [cell for run in (size.bounded, size.roomy, size.fixed) for cell in _cells(run)]
        hours = size.fixed.seconds / 3600
        table.add_row(f"{size.nodes:,}", *cells, f"{hours:.2f}", f"{hours * size.fixed.cluster.all_cores:,.0f}")
    if sizes:
        bound, room = (run.cluster.blocks_in_flight for run in (sizes[-1].bounded, sizes[-1].roomy))
        table.caption = f"steady: {bound:,} blocks in flight; with room: up to {room:,}, as slots and actors need"
    return table


def compared_table(found: Sequence[Compared]) -> Table:
    """Prediction and measurement on local nodes."""
    table = Table(
        "local nodes",
        "decode ms",
        "encode ms",
        "Ray ms",
        "core given",
        "predicted videos/s",
        "measured videos/s",
        "predicted : measured",
    )
    table.title, table.title_justify = "Steady state on local nodes of one core each", "left"
    for one in found:
        span = f"{np.mean(one.predicted):.1f} ({min(one.predicted):.1f} to {max(one.predicted):.1f})"
        ray_ms = 1000 * (one.costs.overhead.driver_s + one.costs.overhead.node_s) / one.costs.videos
        costs = [f"{value:.1f}" for value in (one.costs.decode_core_ms, one.costs.encode_ms, ray_ms)]
        table.add_row(str(one.nodes), *costs, f"{one.given:.2f}", span, f"{one.measured:.1f}", f"{one.ratio:.2f}")
    return table


def _cells(run: Simulated) -> tuple[str, str, str]:
    return f"{run.efficiency:.2f}", f"{run.videos / run.seconds:,.0f}", run.limit


def _ms(seconds: float) -> str:
    return f"{1000 * seconds:.1f} ms"

"""Measurements with their peer, limit and floors: as a table and as the JSON files in benchmarks/results."""

from collections.abc import Iterable
from pathlib import Path

from pydantic import BaseModel, ConfigDict, Field
from rich.table import Table

RESULTS = Path(__file__).parent / "results"


class Reference(BaseModel):
    """What a measurement is compared with. `floor` is the lowest acceptable ratio of rayreel to it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    value: float | None = Field(gt=0, description="in the unit of the measurement; None if it was not measured")
    floor: float | None = None


class Measurement(BaseModel):
    """One figure of rayreel, higher is better, and what it is compared with."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str
    value: float
    peer: Reference | None = Field(None, description="the common way to do the same work")
    limit: Reference | None = Field(None, description="what the machine allows without rayreel")

    def ratio(self, reference: Reference | None) -> float | None:
        """Return rayreel ÷ reference, None if the reference was not measured."""
        return self.value / reference.value if reference and reference.value else None

    def meets(self, reference: Reference | None) -> bool:
        """Return whether the ratio reaches its floor; True if there is no ratio or no floor."""
        ratio = self.ratio(reference)
        return ratio is None or reference is None or reference.floor is None or ratio >= reference.floor


class BenchmarkRun(BaseModel):
    """The outcome of one benchmark with its provenance, as benchmarks/results holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    command: str
    date: str
    machine: str
    measurements: list[Measurement]

    def below_floor(self) -> list[Measurement]:
        """Return the measurements that miss a floor."""
        return [one for one in self.measurements if not (one.meets(one.peer) and one.meets(one.limit))]

    def write(self, path: Path) -> None:
        """Write the result as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(f"{self.model_dump_json(indent=2)}\n", encoding="utf-8")


def read_results(folder: Path = RESULTS) -> list[BenchmarkRun]:
    """Return the results of a folder, by the names of the files."""
    paths = sorted(folder.glob("*.json"))
    return [BenchmarkRun.model_validate_json(path.read_text(encoding="utf-8")) for path in paths]


def ratios_table(results: Iterable[BenchmarkRun]) -> Table:
    """Return one row per measurement, with its ratios to peer and limit and their floors."""
    table = Table("benchmark", "rayreel", "÷ peer", "peer", "÷ limit", "limit")
    for one in (one for result in results for one in result.measurements):
        table.add_row(one.name, f"{one.value:,.4g} {one.unit}", *_cells(one, one.peer), *_cells(one, one.limit))
    return table


def _cells(one: Measurement, reference: Reference | None) -> list[str]:
    """Return a ratio with its floor, and the reference."""
    ratio = one.ratio(reference)
    if reference is None or ratio is None:
        return ["", reference.name if reference else ""]
    shown = f"{ratio:,.2f} x" + ("" if reference.floor is None else f" (floor {reference.floor:,g})")
    return [shown if one.meets(reference) else f"[bold red]{shown}[/]", f"{reference.name}: {reference.value:,.4g}"]

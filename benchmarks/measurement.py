"""Measurements with their peer, limit and floors: as a table and as the JSON files in benchmarks/results."""

import os
import platform
import subprocess
from collections.abc import Iterable
from datetime import UTC, datetime
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
    """One figure of rayreel; higher is better. All figures of a measurement come from the same run and data."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    name: str
    unit: str
    value: float
    peer: Reference | None = Field(None, description="the common way of doing the same work")
    limit: Reference | None = Field(None, description="what the machine allows without rayreel around it")

    def ratio(self, reference: Reference | None) -> float | None:
        """Return rayreel ÷ reference, None if the reference was not measured."""
        return self.value / reference.value if reference and reference.value else None

    def meets(self, reference: Reference | None) -> bool:
        """Return whether the ratio reaches the floor; True without a floor, or if it was not measured."""
        ratio = self.ratio(reference)
        return ratio is None or reference is None or reference.floor is None or ratio >= reference.floor


class Provenance(BaseModel):
    """Where, when and how a result was measured."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    date: str
    machine: str
    command: str
    commit: str | None = None
    note: str = ""


class Result(BaseModel):
    """The outcome of one benchmark, as benchmarks/results holds it."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    measured: Provenance
    measurements: list[Measurement]

    @classmethod
    def here(cls, measurements: list[Measurement], command: str) -> "Result":
        """Return measurements made now, on this machine and commit."""
        git = ["git", "describe", "--always", "--dirty"]
        done = subprocess.run(git, cwd=RESULTS, capture_output=True, text=True, check=False)
        machine = f"{os.cpu_count()} cores, {platform.machine()}, Python {platform.python_version()}"
        date = f"{datetime.now(UTC):%Y-%m-%d}"
        return cls(
            measured=Provenance(date=date, machine=machine, command=command, commit=done.stdout.strip() or None),
            measurements=measurements,
        )

    def write(self, path: Path) -> None:
        """Write the result as JSON."""
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(self.model_dump_json(indent=2) + "\n")


def read_results(folder: Path = RESULTS) -> list[Result]:
    """Return all results of a folder, by name of the file."""
    return [Result.model_validate_json(path.read_text()) for path in sorted(folder.glob("*.json"))]


def below_floor(results: Iterable[Result]) -> list[Measurement]:
    """Return the measurements that miss one of their floors."""
    all_measurements = [one for result in results for one in result.measurements]
    return [one for one in all_measurements if not (one.meets(one.peer) and one.meets(one.limit))]


def ratios_table(results: Iterable[Result]) -> Table:
    """Return one row per measurement, with its ratios to peer and limit and their floors."""
    table = Table("benchmark", "rayreel", "÷ peer", "floor", "peer", "÷ limit", "floor", "limit")
    for one in (one for result in results for one in result.measurements):
        cells = (_cells(one, reference) for reference in (one.peer, one.limit))
        table.add_row(one.name, f"{one.value:,.4g} {one.unit}", *(cell for group in cells for cell in group))
    return table


def _cells(one: Measurement, reference: Reference | None) -> list[str]:
    """Return ratio, floor, and name with value of a reference."""
    if reference is None:
        return ["", "", ""]
    ratio = one.ratio(reference)
    shown = "not measured" if ratio is None else f"{ratio:,.2f} x"
    value = "" if reference.value is None else f": {reference.value:,.4g}"
    floor = "" if reference.floor is None else f"{reference.floor:,g} x"
    return [shown if one.meets(reference) else f"[bold red]{shown}[/]", floor, f"{reference.name}{value}"]

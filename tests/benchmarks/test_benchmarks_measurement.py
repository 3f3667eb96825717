import json
from io import StringIO
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from rich.console import Console

from benchmarks.chart import draw_chart
from benchmarks.measurement import RESULTS, BenchmarkRun, Measurement, Reference, ratios_table, read_results


def measured(value: float, floor: float | None = 2.0, reference: float | None = 10.0) -> Measurement:
    return Measurement(
        name="search", unit="searches/s", value=value, peer=Reference(name="peer", value=reference, floor=floor)
    )


def result(*measurements: Measurement) -> BenchmarkRun:
    return BenchmarkRun(command="run.py", date="2026-11-27", machine="2 cores", measurements=list(measurements))


def shown(*measurements: Measurement) -> str:
    out = StringIO()
    Console(file=out, width=200).print(ratios_table([result(*measurements)]))
    return out.getvalue()


@pytest.mark.parametrize(("value", "floor", "meets"), [(20, 2, True), (19.9, 2, False), (1, None, True)])
def test_a_floor_is_the_lowest_acceptable_ratio(value: float, floor: float | None, meets: bool) -> None:
    one = measured(value, floor)
    assert one.meets(one.peer) is meets
    assert result(one).below_floor() == ([] if meets else [one])


def test_a_reference_that_was_not_measured_has_no_ratio_and_misses_no_floor() -> None:
    one = measured(5, floor=2, reference=None)
    assert one.ratio(one.peer) is None and one.meets(one.peer)
    assert "peer" in shown(one)


def test_the_table_shows_ratio_floor_and_reference() -> None:
    text = shown(measured(25))
    assert "2.50 x (floor 2)" in text and "peer: 10" in text and "25 searches/s" in text


def test_a_result_reads_as_it_was_written(tmp_path: Path) -> None:
    written = result(measured(25), measured(1, floor=None))
    written.write(tmp_path / "results" / "search.json")
    assert read_results(tmp_path / "results") == [written]


def test_the_committed_results_meet_their_floors_and_name_their_provenance() -> None:
    for path in RESULTS.glob("*.json"):
        committed = BenchmarkRun.model_validate(json.loads(path.read_text()))
        assert not committed.below_floor(), path.name
        assert committed.command and committed.machine and committed.measurements, path.name


def test_the_chart_is_up_to_date() -> None:
    assert (RESULTS / "chart.svg").read_text() == draw_chart(read_results()), "run `python -m benchmarks.chart`"


def test_the_chart_is_valid_xml_with_a_bar_and_a_floor_per_ratio() -> None:
    root = ET.fromstring(draw_chart([result(measured(25), measured(15), measured(9, floor=None, reference=None))]))
    kinds = [element.get("class") for element in root.iter()]
    assert kinds.count("bar") == 1 and kinds.count("missed") == 1 and kinds.count("floor") == 2


def test_the_benchmarks_stay_small() -> None:
    lines = [line for path in RESULTS.parent.glob("*.py") for line in path.read_text().splitlines()]
    assert len(lines) <= 1200

"""Options and tables of `rayreel extract`."""

from collections import Counter
from pathlib import Path

import pyarrow as pa
import pytest

from feature_rows import KEY
from rayreel.catalog.read import Catalog
from rayreel.cli.extract import allowed_failures
from rayreel.cli.steps.extract import as_dict, closing_table, efficiency_line, show_left_out, show_quarantine
from rayreel.failures import Reason
from rayreel.features.extract import ExtractReport
from rayreel.features.ideal import Ideal
from rayreel.features.report import BlockReport, Throughput
from rayreel.features.rows import quarantine_row
from rayreel.features.schema import QUARANTINE
from rayreel.features.store import FeatureStore
from rayreel.settings import SettingsError
from rayreel.storage import Storage


@pytest.mark.parametrize(("text", "rows", "allowed"), [("5", 100, 5), ("5%", 100, 5), ("2.5%", 200, 5), ("0", 9, 0)])
def test_max_failures_is_a_number_or_a_share(text: str, rows: int, allowed: int) -> None:
    assert allowed_failures(text, rows) == allowed


@pytest.mark.parametrize("text", ["many", "%", "five%"])
def test_an_invalid_max_failures_is_reported_with_examples(text: str) -> None:
    with pytest.raises(SettingsError, match="expected a number"):
        allowed_failures(text, 10)


def test_on_cpus_alone_the_stages_share_the_cores() -> None:
    ideal = Ideal(decode_rate=60, encode_rate=30, cores=2, gpus=0)
    assert ideal.videos_per_s == pytest.approx(20)
    assert ideal.decode_core_ms == pytest.approx(33.33, abs=0.01)


def test_with_gpus_the_slower_stage_is_the_limit() -> None:
    assert Ideal(decode_rate=60, encode_rate=300, cores=16, gpus=1).videos_per_s == 60


def test_efficiency_is_the_steady_rate_over_the_ideal_one() -> None:
    times = iter([0.0, 1.0, 2.0, 2.0])
    throughput = Throughput(clock=lambda: next(times))
    for _ in range(3):
        throughput.add(
            BlockReport(outcomes={"extracted": 10}, frames=80, decode_s=1, decoded_at=9, waited_s=0, encode_s=1)
        )
    line = efficiency_line(ExtractReport(30, 30, 0, throughput=throughput), Ideal(60, 15, 2, 0))
    # 20 videos in 2 s; bare loops need 20/60 + 20/15 s.
    assert line.startswith("efficiency 0.83: decoding 20 and encoding 20 videos took 2.0 s")
    assert "the hardware allows 12.0 videos/s, encode limits (2 cores;" in line


def test_the_closing_table_accounts_for_every_row() -> None:
    table = closing_table(ExtractReport(10, 4, 1, Counter({"unreadable": 2}), deleted=2, replaced=1))
    names, counts = (list(column.cells) for column in table.columns)
    shown = dict(zip(names, counts, strict=True))
    assert shown["deleted over the API"] == "2" and shown["replaced over the API"] == "1"
    assert sum(int(str(count)) for name, count in shown.items() if name not in {"rows in", "seconds"}) == 10
    texts = closing_table(ExtractReport(10, 4, 6, without_video=3, text_fallback=2))
    shown = dict(zip(*(list(column.cells) for column in texts.columns), strict=True))
    assert shown["of these without a video"] == "3" and shown["in quarantine, indexed by text"] == "2"
    plain = closing_table(ExtractReport(10, 10, 0))
    assert not any("API" in str(name) for name in plain.columns[0].cells)


def test_the_json_has_the_numbers_of_the_closing_table() -> None:
    found = as_dict(ExtractReport(10, 4, 1, Counter({"unreadable": 2}), deleted=2, replaced=1))
    assert found["rows"] == sum(found[key] for key in ("extracted", "unchanged", "quarantined", "deleted", "replaced"))
    assert found["reasons"] == {"unreadable": 2} and found["videos_per_s"] is None


def test_what_a_catalog_leaves_out_is_listed_by_kind(capsys: pytest.CaptureFixture[str]) -> None:
    catalog = Catalog("clips")
    for name in ("a[/].rmvb", "b.rmvb"):
        catalog.left_out.add("unsupported suffix .rmvb", name)
    show_left_out(catalog)
    assert capsys.readouterr().out == "  left out: unsupported suffix .rmvb: 2 (a[/].rmvb, b.rmvb)\n"


def test_a_quarantined_video_with_brackets_in_its_name_is_shown_correctly(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = FeatureStore(Storage(tmp_path), KEY)
    store.create()
    row = quarantine_row("a[/]b[red]", "/a[/]b.mp4", "1", "catalog", Reason.MISSING_FILE, "no file /a[/]b.mp4")
    store.add(store.schema.empty_table(), pa.Table.from_pylist([row], schema=QUARANTINE))
    store.set_catalog([("a[/]b[red]", "1")])
    show_quarantine(store)
    assert capsys.readouterr().out == "  quarantined a[/]b[red]: missing_file: no file /a[/]b.mp4\n"

"""Evaluating a registered tower, and showing the report's tables in the terminal."""

import json
import tempfile
from itertools import accumulate
from pathlib import Path

import pyarrow as pa
from rich.markup import escape
from rich.table import Table

from rayreel.catalog.interactions import read_interactions
from rayreel.cli.output import console, note, step
from rayreel.evaluation import report
from rayreel.evaluation.config import SplitConfig
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.report_page import looks_of, report_page
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import open_store
from rayreel.media.pictures import Pictures
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.training.tracking import log_report, run_config, training_history

FOLDER = "reports"


def evaluate_tower(settings: Settings, version: Version) -> Evaluation:
    """Evaluate a version, show the tables, write the report as a page and log both to the version's MLflow run."""
    step(f"Evaluating {registry.MODEL} version {version.number}")
    trained = run_config(version.run_id)
    matrix = FeatureMatrix.from_table(open_store(settings.place, version.encoder_key).read())
    result = evaluate(
        registry.load(version, settings.release.smoothing),
        matrix,
        splits_of(settings, trained),
        settings.evaluation,
        _interactions(settings, trained.get("interactions")),
    )
    looks = looks_of(result, matrix, Pictures(settings.place))
    _log(result, version, settings, report_page(result, _title(version), looks, training_history(version.run_id)))
    for table in (table for section in result.sections.values() for table in report.tables_of(result, section)):
        console.print(terminal_table(table, console.width))
    if (leaks := report.leak_table(result)) is not None:
        console.print(terminal_table(leaks, console.width))
    for line in (*(report.verdict(result, section) for section in result.sections.values()), *report.warnings(result)):
        note(line)
    return result


def terminal_table(table: report.Table, width: int) -> Table:
    """Return a report's table with the best of each column in bold; on a narrow terminal, the last columns are cut."""
    fit = _columns_that_fit(table, width)
    left_out = len(table.heads) - fit
    caption = f"{left_out} more columns in the Markdown" if left_out else None
    out = Table(title=table.title, title_justify="left", caption=caption, caption_justify="left")
    for head in table.heads[:fit]:
        out.add_column(escape(head), no_wrap=True)
    for place, row in enumerate(table.rows):
        cells = zip((escape(cell) for cell in row[:fit]), table.best, strict=False)
        out.add_row(*(f"[bold]{cell}[/]" if place in best else cell for cell, best in cells))
    return out


def _columns_that_fit(table: report.Table, width: int) -> int:
    frame = 3  # a rule, and a space on each side
    widths = [max(map(len, column)) + frame for column in zip(table.heads, *table.rows, strict=True)]
    return max(2, sum(end < width for end in accumulate(widths)))


def splits_of(settings: Settings, trained: dict[str, object]) -> SplitConfig:
    """Return the split of the training: another one would put videos that the tower was trained on into the test."""
    splits = SplitConfig.model_validate(trained["splits"])
    if splits != settings.splits:
        step(f"Using the split of the training instead of the settings': {splits}")
    return splits


def _interactions(settings: Settings, trained: object) -> pa.Table | None:
    path = settings.interactions or trained
    if settings.interactions and trained and settings.interactions != trained:
        step(f"Trained on {trained}, evaluated on {path}: the training may have seen views of this test")
    return None if path is None else read_interactions(str(path))


def report_path(settings: Settings, version: Version) -> str:
    """Return the URI of the page with the latest report of a version."""
    return settings.place.uri(FOLDER, _file(version))


def _file(version: Version) -> str:
    return f"evaluation_v{version.number}.html"


def _title(version: Version) -> str:
    return f"Evaluation of {registry.MODEL} version {version.number}"


def _log(result: Evaluation, version: Version, settings: Settings, page: str) -> None:
    """Write the page below the storage root, and all of the report to the version's run."""
    settings.place.write(settings.place.path(FOLDER, _file(version)), page.encode())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "evaluation.md").write_text(report.markdown(result))
        (folder / "evaluation.json").write_text(json.dumps(report.as_json(result), indent=1))
        (folder / "evaluation.html").write_text(page)
        log_report(version.run_id, result.flat, folder)

"""Measure a registered tower on held-out videos and views, beside honest baselines."""

import json
import tempfile
from itertools import accumulate
from pathlib import Path
from typing import Annotated

import pyarrow as pa
import typer
from rich.markup import escape
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, finish, following, run, step
from rayreel.catalog.interactions import read_interactions
from rayreel.evaluation import report
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.evaluation.plots import page
from rayreel.evaluation.splits import SplitConfig
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import open_store
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import log_report, run_config, training_history, use_tracking


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = registry.CHALLENGER,
    interactions: Annotated[
        str | None, typer.Option(help="Who watched what: CSV, Parquet or RecBole .inter file (interactions).")
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Measure a registered tower on what its training held out, beside baselines that need no training, or less.

    Videos are split as the version's training split them. With interactions, users' next views are asked for too;
    unset, those that the tower was trained with.
    """
    given = [*(sets or []), *([] if interactions is None else [f"interactions={json.dumps(interactions)}"])]
    settings = load_settings(config, given, storage)
    use_tracking(settings.place)
    chosen = registry.resolve(version)
    evaluate_tower(settings, chosen)
    finish(
        f"metrics test/… and artifacts evaluation/ (Markdown, JSON, plots) of MLflow run {chosen.run_id}",
        following("promote", settings, config, given, "--version", str(chosen.number)),
    )


def evaluate_tower(settings: Settings, version: Version) -> Evaluation:
    """Evaluate, show the tables and log them to the version's run."""
    step(f"Evaluating {registry.MODEL} version {version.number}")
    trained = run_config(version.run_id)
    matrix = FeatureMatrix.from_table(open_store(settings.place, version.encoder_key).read())
    result = evaluate(
        registry.load(version),
        matrix,
        _splits(settings, trained),
        settings.evaluation,
        _interactions(settings, trained.get("interactions")),
    )
    _log(result, version)
    for section in result.sections.values():
        console.print(shown(report.table_of(section), console.width))
    for section in result.sections.values():
        console.print(report.verdict(result, section), markup=False, highlight=False)
    return result


def shown(table: report.Table, width: int) -> Table:
    """A report's table for the terminal, the best of each column in bold; the last columns go where it is narrow."""
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
    frame = 3  # a rule and a space on each side
    widths = [max(map(len, column)) + frame for column in zip(table.heads, *table.rows, strict=True)]
    return max(2, sum(end < width for end in accumulate(widths)))


def _splits(settings: Settings, trained: dict[str, object]) -> SplitConfig:
    """As training split: another split would put videos that the tower was trained on into the test."""
    splits = SplitConfig.model_validate(trained["splits"])
    if splits != settings.splits:
        step(f"Splitting as the training did, not as the settings say: {splits}")
    return splits


def _interactions(settings: Settings, trained: object) -> pa.Table | None:
    path = settings.interactions or trained
    if settings.interactions and trained and settings.interactions != trained:
        step(f"Trained on {trained}, measured on {path}: of these, training may have seen what is now asked for")
    return None if path is None else read_interactions(str(path))


def _log(result: Evaluation, version: Version) -> None:
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "evaluation.md").write_text(report.markdown(result))
        (folder / "evaluation.json").write_text(json.dumps(report.as_json(result), indent=1))
        (folder / "plots.html").write_text(page(result, training_history(version.run_id)))
        log_report(version.run_id, result.flat, folder)


if __name__ == "__main__":
    run(main)

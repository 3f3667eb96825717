"""Comparing encoders on a catalog."""

import json
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from rich.box import SIMPLE_HEAD
from rich.markup import escape
from rich.table import Table as RichTable

from rayreel.catalog.interactions import read_interactions
from rayreel.catalog.read import Catalog
from rayreel.cli.output import console, note, step
from rayreel.cli.steps.counted import counted
from rayreel.encoders.known import KnownEncoder, named_encoders, usual_encoders, with_card
from rayreel.errors import RayreelError
from rayreel.evaluation import encoder_report as report
from rayreel.evaluation.encoders import EncoderComparison, EncoderFeatures, aligned, compare_encoders
from rayreel.evaluation.report import Table
from rayreel.features.comparing import FOLDER, Compared, extract_compared, sample_of
from rayreel.features.cost import read_cost
from rayreel.features.matrix import FeatureMatrix
from rayreel.settings import Settings
from rayreel.training.tracking import log_report, tracked

PAGE = "comparison.html"
UNITS = {"cpu": "core-ms", "cuda": "GPU-ms"}


def compare_on(
    settings: Settings, rows: Catalog, names: str | None, limit: int | None, budgets_ms: Sequence[float]
) -> tuple[dict[str, Any], str, list[str]]:
    """Compare the encoders on a catalog, show and log the result.

    Returns the result for --json, what was written, and those of the encoders recommended for the smallest budget that
    the settings do not use.
    """
    config, cache = settings.encoders, settings.weights_cache
    known = usual_encoders(config) if names is None else named_encoders(names, config, cache)
    step(f"Looking for the weights of {len(known)} encoders")
    compared, unreachable = _reachable(settings, known)
    for label, problem in unreachable:
        note(f"  unreachable: {label}: {problem}")
    if not compared:
        raise RayreelError("None of the encoders can be compared here; the lines above say why.")
    rows = sample_of(rows, limit)
    parameters = {"videos": len(rows.videos), "encoders": len(compared), "features": FOLDER}
    name = datetime.now(UTC).strftime("encoders-%Y%m%d-%H%M%S")
    with tracked(settings.place, name, parameters, settings.model_dump(mode="json")) as run_id:
        step(f"Encoding {len(rows.videos)} videos of {rows.source} with {len(compared)} encoders ({name})")
        with counted("encoding") as progress:
            extract_compared(rows, compared, settings.limits, progress)
        comparison = _compared(settings, compared, budgets_ms)
    unit = UNITS.get(compared[0].device, "ms")
    console.print(_for_terminal(report.table_of(comparison, unit)))
    for line in report.choices_of(comparison):
        note(line)
    page = _log(settings, run_id, comparison, unit, unreachable)
    result = {"run_id": run_id, "page": page, **report.as_json(comparison, unit, unreachable)}
    wrote = f"{page}; features below {settings.place.uri(FOLDER)}; artifacts evaluation/ of MLflow run {run_id}"
    return result, wrote, [label for label in _chosen(comparison) if label not in _in_use(settings)]


def _for_terminal(table: Table) -> RichTable:
    """Return number, encoders, cost, the first headline and the comparison, with long cells wrapped."""
    places = (0, 1, 2, 3, table.heads.index(report.AGAINST))
    shown = RichTable(title=table.title, title_justify="left", box=SIMPLE_HEAD, padding=(0, 1, 0, 0), pad_edge=False)
    shown.caption, shown.caption_justify = "More columns are in the page and in the Markdown", "left"
    for place in places:
        shown.add_column(escape(table.heads[place]), overflow="fold")
    for number, row in enumerate(table.rows):
        cells = ((place, escape(row[place])) for place in places)
        shown.add_row(*(f"[bold]{cell}[/]" if number in table.best[place] else cell for place, cell in cells))
    return shown


def _chosen(comparison: EncoderComparison) -> list[str]:
    """Return the labels of the encoders recommended for the smallest budget that allows one."""
    names = [choice.name for choice in comparison.choices if choice.name is not None]
    return next(list(one.weights) for one in comparison.contenders if one.name == names[0])


def _in_use(settings: Settings) -> list[str]:
    """Return the labels of the encoders that the settings use."""
    return [KnownEncoder(modality, name, None, "").label for modality, name in settings.encoders.resolve().items()]


def _reachable(settings: Settings, known: Sequence[KnownEncoder]) -> tuple[list[Compared], list[tuple[str, str]]]:
    """Return the encoders that load, and the others with the reason."""
    found, unreachable = list[Compared](), list[tuple[str, str]]()
    threads = settings.encoders.threads or settings.extract.encoder_threads
    config = settings.encoders.model_copy(update={"threads": threads})
    for one in known:
        try:
            there = Compared.of(one, config, settings.weights_cache, settings.place, settings.sampling)
            there.store.create()
        except RayreelError as error:
            unreachable.append((one.label, str(error)))
        else:
            found.append(there)
    return found, unreachable


def _compared(settings: Settings, encoders: Sequence[Compared], budgets_ms: Sequence[float]) -> EncoderComparison:
    tables = aligned([one.store.read() for one in encoders])
    features = [
        EncoderFeatures(
            with_card(one.known, one.config, one.cache),
            FeatureMatrix.from_table(table),
            read_cost(one.storage, one.name, one.device).ms_per_video,
        )
        for one, table in zip(encoders, tables, strict=True)
    ]
    step(f"Measuring on {len(features[0].matrix)} videos")
    return compare_encoders(
        features,
        settings.splits,
        settings.evaluation,
        None if settings.interactions is None else read_interactions(settings.interactions),
        budgets_ms=budgets_ms,
        in_use=_in_use(settings),
    )


def _log(
    settings: Settings, run_id: str, comparison: EncoderComparison, unit: str, unreachable: Sequence[tuple[str, str]]
) -> str:
    """Write the page below the storage root, and everything to the MLflow run; returns the page's address."""
    page = report.page(comparison, unit, unreachable)
    settings.place.write(settings.place.path(FOLDER, PAGE), page.encode())
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "encoders.md").write_text(report.markdown(comparison, unit, unreachable))
        (folder / "encoders.json").write_text(json.dumps(report.as_json(comparison, unit, unreachable), indent=1))
        (folder / PAGE).write_text(page)
        log_report(run_id, comparison.flat, folder)
    return settings.place.uri(FOLDER, PAGE)

"""The results of a sweep as a table and as JSON."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from rayreel.evaluation import report
from rayreel.evaluation.comparison import Section
from rayreel.evaluation.report import Table
from rayreel.training.sweep.compare import SweepComparison
from rayreel.training.sweep.trial import TrialOutcome

# Sections of the table; the report of the best trial has all of them.
_SECTIONS = ("category", "tags", "co_watch", "users", "users, cold", "views")


def table_of(comparison: SweepComparison) -> Table:
    """Return a row per cell, the best first, then the baselines; columns: validation and each protocol's test headline.

    The protocol by which trials were selected comes first. With one seed: 95 % intervals over queries, and the best
    trial's lead in that protocol with p. With several seeds: mean ± standard deviation and the number of seeds.
    """
    sections = _sections(comparison)
    cells: dict[str, list[TrialOutcome]] = {}
    for outcome in comparison.outcomes:
        cells.setdefault(outcome.trial.label, []).append(outcome)
    repeated = any(len(outcomes) > 1 for outcomes in cells.values())
    rows = [_row(comparison, label, outcomes, sections) for label, outcomes in cells.items()]
    rows += [[name, "", *(_baseline(s, name) for s in sections)] for name in comparison.evaluation.baselines]
    heads = [
        "trial",
        f"{comparison.best.metric} ({sections[0].name})",
        *(f"{s.name} {s.headline} {'' if repeated else '[95 %]'}".strip() for s in sections),
    ]
    if not repeated:
        methods = [*(comparison.method(o) for o in comparison.outcomes), *comparison.evaluation.baselines]
        heads.insert(3, "best ahead by (p)")
        rows = [[*row[:3], _lead(sections[0], name), *row[3:]] for row, name in zip(rows, methods, strict=True)]
    title = f"{len(cells)} cells, best on validation first; {comparison.evaluation.held_out} test videos"
    return Table(title, heads, rows, [set() for _ in heads])


def failures(outcomes: Sequence[TrialOutcome]) -> list[str]:
    """Return a line for each failed trial."""
    return [f"{o.trial.title}: {o.trouble}" for o in outcomes if o.trouble is not None]


def markdown(comparison: SweepComparison, settings: Sequence[str]) -> str:
    """Return the table, the common settings of all cells, and the failures, as Markdown."""
    table = table_of(comparison)
    lines = [f"# Sweep\n\n{table.title}. Common settings: {', '.join(settings) or 'as configured'}.\n"]
    lines += [report.markdown_of(table), *(f"- {line}" for line in failures(comparison.outcomes))]
    return "\n".join(lines)


def as_json(comparison: SweepComparison) -> dict[str, Any]:
    """Return all trials with their settings and scores, and the complete test evaluation."""
    return {
        "selected_by": f"{comparison.best.metric} ({comparison.by})",
        "best": comparison.best.trial.name,
        "trials": [_as_json(comparison, outcome) for outcome in comparison.outcomes],
        "evaluation": report.as_json(comparison.evaluation),
    }


def _as_json(comparison: SweepComparison, outcome: TrialOutcome) -> dict[str, Any]:
    trial, succeeded = outcome.trial, outcome.trouble is None
    return {
        "name": trial.name,
        "label": trial.label,
        "seed": trial.seed,
        "parameters": trial.parameters,
        "run_id": outcome.run_id,
        "checkpoint": outcome.checkpoint,
        "epochs": outcome.epochs,
        "samples_per_s": outcome.samples_per_s if succeeded else None,
        "trouble": outcome.trouble,
        comparison.best.metric: outcome.score if succeeded else None,
        "test": comparison.test(outcome),
    }


def _sections(comparison: SweepComparison) -> list[Section]:
    sections = comparison.evaluation.sections
    return sorted((sections[name] for name in _SECTIONS if name in sections), key=lambda s: s.name != comparison.by)


def _row(comparison: SweepComparison, label: str, outcomes: list[TrialOutcome], sections: list[Section]) -> list[str]:
    succeeded = [outcome for outcome in outcomes if outcome.trouble is None]
    if not succeeded:
        return [label, "failed", *("" for _ in sections)]
    scores = [[section.scores[comparison.method(o)][section.headline] for o in succeeded] for section in sections]
    repeated = len(outcomes) > 1
    cells = [_mean_sd([score.mean for score in each]) if repeated else report.with_interval(each[0]) for each in scores]
    return [label, _mean_sd([o.score for o in succeeded]) if repeated else f"{succeeded[0].score:.3f}", *cells]


def _mean_sd(values: Sequence[float]) -> str:
    deviation = f" ± {np.std(values, ddof=1):.3f}" if len(values) > 1 else ""
    return f"{np.mean(values):.3f}{deviation} ({len(values)})"


def _baseline(section: Section, name: str) -> str:
    scores = section.scores.get(name)
    return "" if scores is None else report.with_interval(scores[section.headline])


def _lead(section: Section, method: str) -> str:
    versus = section.versus.get(method)
    return "" if versus is None else f"{versus[section.headline].difference:+.3f} ({versus[section.headline].p:.3f})"

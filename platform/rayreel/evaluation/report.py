"""The report: tables for people, JSON for programs, and a one-sentence verdict per section."""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from rayreel.evaluation.comparison import Score, Section, Versus
from rayreel.evaluation.evaluate import Evaluation
from rayreel.evaluation.frozen import FROZEN
from rayreel.evaluation.leaks import LeakCheck
from rayreel.evaluation.methods import TOWER
from rayreel.evaluation.metrics import METRICS
from rayreel.evaluation.view_retrieval import VIEWS

_SIGNIFICANT = 0.05
_SHORT = {
    "precision": "P",
    "recall": "R",
    "hit_rate": "HR",
    "ndcg": "nDCG",
    "mrr": "MRR",
    "map": "MAP",
    "diversity": "div",
    "coverage": "cov",
    "popularity": "pop",
}


@dataclass(frozen=True, slots=True)
class Table:
    """A table of text cells with methods as rows. `best` holds the best rows of each column."""

    title: str
    heads: list[str]
    rows: list[list[str]]
    best: list[set[int]]


def tables_of(evaluation: Evaluation, section: Section) -> list[Table]:
    """Return the section's tables: the version and its baselines, then what frozen features reach with a few lines.

    Each has the headline metric with its interval, the tower's lead over each method, and the other metrics.
    """
    main = [name for name in section.scores if name not in section.few_lines]
    title = f"{section.name}: {section.queries} queries, {section.candidates} candidates"
    tables = [_table(section, title, main)]
    if section.few_lines:
        few = [*section.few_lines, *(name for name in (FROZEN, TOWER) if name in section.scores)]
        settings = [evaluation.settings.get(name, "") for name in few]
        tables.append(_table(section, f"{section.name}: frozen features and a few lines", few, settings))
    return tables


def _table(section: Section, title: str, methods: Sequence[str], settings: Sequence[str] | None = None) -> Table:
    first, *rest = section.table_metrics
    heads = ["method", f"{short(first, section)} [95 %]", "tower ahead by (p)", *(short(n, section) for n in rest)]
    rows = [
        [
            method,
            with_interval(section.scores[method][first]),
            _lead(section.versus.get(method, {}).get(first)),
            *(f"{section.scores[method][n].mean:.3f}" for n in rest),
        ]
        for method in methods
    ]
    best = [set[int](), _best(section, methods, first), set[int](), *(_best(section, methods, name) for name in rest)]
    if settings is not None:
        heads.insert(3, "chosen")
        best.insert(3, set())
        rows = [[*row[:3], setting, *row[3:]] for row, setting in zip(rows, settings, strict=True)]
    return Table(title, heads, rows, best)


def markdown(evaluation: Evaluation) -> str:
    """Return all tables, each with its verdict and the headline metric at every cutoff."""
    parts = [f"# Evaluation\n\n{evaluation.held_out} of {evaluation.videos} videos held out. {NOTE}\n"]
    for section in evaluation.sections.values():
        tables = (*tables_of(evaluation, section), _headline_table(section))
        parts.append(f"## {section.name}\n\n{section.about} {section.queries} queries.\n")
        parts += [markdown_of(table) for table in tables if len(table.heads) > 2]
        parts.append(verdict(evaluation, section) + "\n")
    if (found := leak_table(evaluation)) is not None:
        parts += [f"## Leaks\n\n{LEAKS_ABOUT}\n", markdown_of(found), *(f"{line}\n" for line in warnings(evaluation))]
    return "\n".join(parts)


LEAKS_ABOUT = (
    "Whether metadata give away the category, so that figures by category are higher than the videos deserve. "
    "predicts: accuracy of a classifier that reads nothing else, for videos of groups that it has not seen; largest: "
    "share of the largest category, which a constant answer reaches; names it: share of videos whose text contains the "
    "category's name. Encoders read titles and tags, but no file names."
)


def leak_table(evaluation: Evaluation) -> Table | None:
    """Return a row per kind of metadata that was checked; None if there is none."""
    rows = [
        [c.of, with_interval(Score(c.accuracy, c.low, c.high)), f"{c.most_frequent:.3f}", f"{c.named:.3f}", _found(c)]
        for c in evaluation.leaks
    ]
    heads = ["metadata", "predicts [95 %]", "largest", "names it", "leak"]
    return Table("leaks: does metadata give away the category?", heads, rows, [set() for _ in heads]) if rows else None


def warnings(evaluation: Evaluation) -> list[str]:
    """Return a line for each leak that was found, with what to do."""
    return [
        f"Leak: {c.of} predict {c.accuracy:.0%} of the categories. {c.warning}" for c in evaluation.leaks if c.warning
    ]


def _found(check: LeakCheck) -> str:
    return "yes" if check.warning else "no"


def as_json(evaluation: Evaluation) -> dict[str, Any]:
    """Return every metric at every cutoff with its interval, and the tower's leads with p-values."""
    return asdict(evaluation)


def verdict(evaluation: Evaluation, section: Section) -> str:
    """Return a sentence on which baselines the tower beats significantly by the section's headline metric."""
    compared = [*evaluation.baselines, *section.few_lines]
    leads = {m: section.versus[m][section.headline] for m in compared if m in section.versus}
    ahead = [m for m, v in leads.items() if v.p < _SIGNIFICANT and v.difference > 0]
    behind = [m for m, v in leads.items() if v.p < _SIGNIFICANT and v.difference < 0]
    undecided = [f"{m} ({v.difference:+.3f}, p {v.p:.2f})" for m, v in leads.items() if v.p >= _SIGNIFICANT]
    parts = [f"{section.name}, {short(section.headline, section)}: the tower beats {_listed(ahead)}"]
    parts += [f"is worse than {_listed(behind)}"] if behind else []
    parts += [f"no significant difference from {_listed(undecided)}"] if undecided else []
    return "; ".join(parts) + "." + (f" {section.about}" if section.name == VIEWS else "")


NOTE = (
    "In brackets: 95 % bootstrap interval of the mean over queries. p: two-sided randomisation test of the tower "
    "against the method on the same queries, adjusted for the number of methods in the table (Holm). Both resample all "
    "videos of one source together. chosen: settings chosen without a test video. div: mean cosine distance within a "
    "list, between mean-pooled features; cov: share of the candidates that appear in any list; pop: mean popularity "
    "percentile of the listed videos, 0.5 is unbiased."
)


def _headline_table(section: Section) -> Table:
    metric = section.headline.split("@")[0]
    names = [name for name in section.scores[TOWER] if name.startswith(f"{metric}@")]
    heads = ["method", *(short(name, section) for name in names)]
    rows = [[method, *(with_interval(row[name]) for name in names)] for method, row in section.scores.items()]
    return Table("", heads, rows, [set(), *(_best(section, list(section.scores), name) for name in names)])


def markdown_of(table: Table) -> str:
    """Return the table as Markdown, with the best of each column in bold."""
    rows = [
        [f"**{cell}**" if place in table.best[n] else cell for n, cell in enumerate(row)]
        for place, row in enumerate(table.rows)
    ]
    lines = [table.heads, ["---"] * len(table.heads), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


def _best(section: Section, methods: Sequence[str], metric: str) -> set[int]:
    """Rows with the highest mean; none for diversity, coverage and popularity, where higher is not always better."""
    means = [section.scores[method][metric].mean for method in methods]
    if metric.partition("@")[0] not in METRICS or max(means) == min(means):
        return set()
    return {place for place, mean in enumerate(means) if mean == max(means)}


def short(metric: str, section: Section) -> str:
    """Return the short form of a metric, such as nDCG@10."""
    name, _, k = metric.partition("@")
    short = "R" if name == "hit_rate" and section.only_hits else _SHORT[name]
    return f"{short}@{k}"


def with_interval(score: Score) -> str:
    """Return a mean with its 95 % interval, if it has one, in brackets."""
    bounds = "" if score.low is None else f" [{score.low:.3f}, {score.high:.3f}]"
    return f"{score.mean:.3f}{bounds}"


def _lead(versus: Versus | None) -> str:
    return "" if versus is None else f"{versus.difference:+.3f} ({versus.p:.3f})"


def _listed(names: list[str]) -> str:
    return ", ".join(names) or "none of the baselines"

"""The comparison of encoders as a table, as Markdown, as JSON and as a page with a plot of quality against cost."""

from collections.abc import Sequence
from dataclasses import asdict
from html import escape
from typing import Any

import plotly.graph_objects as go

from rayreel.evaluation.choosing import Challenge, EncoderChoice
from rayreel.evaluation.comparison import Score
from rayreel.evaluation.encoders import Contender, EncoderComparison, shown_metrics
from rayreel.evaluation.plots import html
from rayreel.evaluation.report import Table, markdown_of, short, with_interval

NOTE = (
    "Each encoder alone, and combinations of the best of each modality with the weights that are best on validation: "
    "cosine of standardised, mean-pooled features. In brackets: 95 % interval over sources. Each is compared with the "
    "best cheaper one; p is adjusted for the number of comparisons. The cost of decoding is not included."
)


AGAINST = "against the best cheaper (p)"


def table_of(comparison: EncoderComparison, unit: str) -> Table:
    """Return a row per contender, from the cheapest to the dearest; `unit` is that of the cost, such as core-ms."""
    sections = comparison.sections.values()
    heads = ["", "encoders", f"{unit}/video"]
    heads += [head for s in sections for head in (f"{s.name} {short(s.headline, s)} [95 %]", f"{s.name} R@1")]
    heads += [AGAINST, "bytes/video", "licence"]
    challenges = {one.name: one for one in comparison.challenges}
    rows = [_row(comparison, one, challenges[one.name]) for one in comparison.contenders]
    best = [set[int](), set[int](), set[int]()]
    for section in sections:
        for metric in shown_metrics(section):
            means = [section.scores[one.name][metric].mean for one in comparison.contenders]
            best.append({place for place, mean in enumerate(means) if mean == max(means)})
    title = f"{len(rows)} ways to encode, {comparison.held_out} of {comparison.videos} videos held out"
    return Table(title, heads, rows, [*best, *(set[int]() for _ in range(3))])


def choices_of(comparison: EncoderComparison) -> list[str]:
    """Return a sentence per budget."""
    return [_sentence(choice) for choice in comparison.choices]


def markdown(comparison: EncoderComparison, unit: str, unreachable: Sequence[tuple[str, str]]) -> str:
    """Return the table, the recommendations and the encoders that were left out, as Markdown."""
    lines = ["# Encoders\n", f"{NOTE}\n", markdown_of(table_of(comparison, unit))]
    lines += [f"- {line}" for line in choices_of(comparison)]
    lines += [f"- Not compared: {name}: {problem}" for name, problem in unreachable]
    return "\n".join(lines) + "\n"


def as_json(comparison: EncoderComparison, unit: str, unreachable: Sequence[tuple[str, str]]) -> dict[str, Any]:
    """Return all numbers of the comparison."""
    left_out = [{"encoder": name, "problem": problem} for name, problem in unreachable]
    return {"unit": unit, **asdict(comparison), "unreachable": left_out}


def page(comparison: EncoderComparison, unit: str, unreachable: Sequence[tuple[str, str]]) -> str:
    """Return HTML with the plot, the recommendations and the table. All scripts are embedded."""
    lines = [*choices_of(comparison), *(f"Not compared: {name}: {problem}" for name, problem in unreachable)]
    listed = "".join(f"<li>{escape(line)}</li>" for line in lines)
    text = f"<p>{escape(NOTE)}</p><ul>{listed}</ul>{_html(table_of(comparison, unit))}"
    return html([quality_and_cost(comparison, unit)], "Encoders", below=text)


def quality_and_cost(comparison: EncoderComparison, unit: str) -> go.Figure:
    """Plot the deciding metric against the cost; a line joins those that are better than the best cheaper one."""
    section = comparison.sections[comparison.deciding]
    scores = [section.scores[one.name][section.headline] for one in comparison.contenders]
    points = go.Scatter(
        x=[one.cost_ms for one in comparison.contenders],
        y=[score.mean for score in scores],
        error_y={"type": "data", "symmetric": False, **_bars(scores)},
        text=[one.name for one in comparison.contenders],
        mode="markers+text",
        textposition="top center",
        name="encoders",
    )
    better = [one for one in comparison.challenges if one.better]
    means = [section.scores[one.name][section.headline].mean for one in better]
    line = go.Scatter(
        x=[one.cost_ms for one in better], y=means, mode="lines", name="significantly better", line={"shape": "hv"}
    )
    figure = go.Figure([line, points])
    figure.update_xaxes(type="log", title=f"{unit} per video")
    figure.update_yaxes(title=f"{section.name}: {section.headline}")
    return figure.update_layout(title="Quality against cost", height=700)


def _bars(scores: Sequence[Score]) -> dict[str, list[float]]:
    high = [0.0 if score.high is None else score.high - score.mean for score in scores]
    return {"array": high, "arrayminus": [0.0 if s.low is None else s.mean - s.low for s in scores]}


def _row(comparison: EncoderComparison, one: Contender, challenge: Challenge) -> list[str]:
    cells = [str(_number(comparison, one.name)), one.name, f"{one.cost_ms:.2f}"]
    for section in comparison.sections.values():
        first, second = (section.scores[one.name][metric] for metric in shown_metrics(section))
        cells += [with_interval(first), f"{second.mean:.3f}"]
    licence = ", ".join(name for name in one.licences if name) or "none needed"
    return [*cells, _against(comparison, challenge), f"{one.bytes_per_video:,.0f}", licence]


def _against(comparison: EncoderComparison, challenge: Challenge) -> str:
    if challenge.versus is None or challenge.against is None:
        return ""
    verdict = "better than" if challenge.better else "not better than"
    lead = f"{challenge.versus.difference:+.3f} ({challenge.versus.p:.3f})"
    return f"{lead}, {verdict} {_number(comparison, challenge.against)}"


def _number(comparison: EncoderComparison, name: str) -> int:
    return 1 + [one.name for one in comparison.contenders].index(name)


def _sentence(choice: EncoderChoice) -> str:
    budget = "Without a budget" if choice.budget_ms is None else f"Within {choice.budget_ms:g} ms a video"
    return f"{budget}: {choice.name or 'none'}: {choice.reason}."


def _html(table: Table) -> str:
    heads = "".join(f"<th>{escape(head)}</th>" for head in table.heads)
    rows = "".join(
        f"<tr>{''.join(_cell(cell, bold=place in table.best[n]) for n, cell in enumerate(row))}</tr>"
        for place, row in enumerate(table.rows)
    )
    return f"<table border='1' cellpadding='4' style='border-collapse: collapse'><tr>{heads}</tr>{rows}</table>"


def _cell(text: str, *, bold: bool) -> str:
    return f"<td><b>{escape(text)}</b></td>" if bold else f"<td>{escape(text)}</td>"

"""Show a classification report: tables for people, and plots in one self-contained HTML page."""

from collections.abc import Mapping

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rayreel.evaluation.classification import ClassReport
from rayreel.evaluation.plots import Curve, html
from rayreel.evaluation.report import Table, markdown_of, with_interval

_PARTS = {"train": "#4c78a8", "validation": "#f58518"}
_SCORES = {"precision": "#4c78a8", "recall": "#f58518"}
_CURVES = ("loss", "accuracy")
_MOST_IN_CELLS = 30  # classes; beyond, numbers do not fit into the cells


def summary(report: ClassReport) -> str:
    """Return the results in two sentences."""
    measured = f"{report.videos} {report.part} clips of {report.groups} recordings"
    return (
        f"Accuracy on {measured}: {with_interval(report.accuracy)}; "
        f"always the most frequent training class: {report.most_frequent:.3f}. Mean over classes: recall "
        f"{report.balanced_accuracy:.3f}, F1 {report.macro_f1:.3f}."
    )


def class_table(report: ClassReport, counts: Mapping[str, tuple[int, int, int]]) -> Table:
    """Return a table of the classes: their clips in each part of the split, precision, recall and F1."""
    heads = ["class", "train", "validation", "test", "precision", "recall", "F1"]
    rows = [
        [row.name, *map(str, counts[row.name]), _number(row.precision), _number(row.recall), _number(row.f1)]
        for row in report.classes
    ]
    title = f"Clips of each class, and scores on the {report.part} clips"
    return Table(title, heads, rows, [set[int]() for _ in heads])


def confusion_table(report: ClassReport) -> Table:
    """Return the confusion matrix: a row per true class, a column per predicted one."""
    names = [row.name for row in report.classes]
    rows = [[name, *map(str, row)] for name, row in zip(names, report.confusion, strict=True)]
    heads = ["true \\ predicted", *names]
    return Table(f"Confusion of the {report.part} clips", heads, rows, [set[int]() for _ in heads])


def classification_markdown(report: ClassReport, counts: Mapping[str, tuple[int, int, int]], about: str) -> str:
    """Return the summary and both tables."""
    tables = (class_table(report, counts), confusion_table(report))
    parts = [f"## {table.title}\n\n{markdown_of(table)}" for table in tables]
    return "\n".join([f"# {about}\n\n{summary(report)}\n", *parts])


def classification_page(report: ClassReport, history: Mapping[str, Curve], best: int, about: str) -> str:
    """Return HTML with learning curves, confusion matrix, and precision and recall of each class."""
    figures = [learning_curves(history, best), confusion_map(report), class_bars(report)]
    return html(figures, about, summary(report))


def learning_curves(history: Mapping[str, Curve], best: int) -> go.Figure:
    """Plot loss and accuracy of training and validation over the epochs; a dashed line marks the best epoch."""
    figure = make_subplots(1, len(_CURVES), subplot_titles=_CURVES)
    for column, metric in enumerate(_CURVES, start=1):
        for part, colour in _PARTS.items():
            x, y = zip(*history[f"{part}/{metric}"], strict=True)
            line = {"name": part, "legendgroup": part, "showlegend": column == 1, "line": {"color": colour}}
            figure.add_trace(go.Scatter(x=x, y=y, mode="lines+markers", **line), 1, column)
        figure.add_vline(best, line={"dash": "dash", "color": "#888"}, col=column, row=1)
    figure.update_xaxes(title="epoch").update_yaxes(rangemode="tozero")
    note = "training clips are augmented, and their loss is with label smoothing; dashed: the best epoch"
    return figure.update_layout(title={"text": "Learning curves", "subtitle": {"text": note}}, height=420)


def confusion_map(report: ClassReport) -> go.Figure:
    """Plot the confusion matrix, coloured by the share of a true class, with numbers of clips."""
    names = [row.name for row in report.classes]
    shares = [[cell / max(1, sum(row)) for cell in row] for row in report.confusion]
    cells = go.Heatmap(
        z=shares,
        x=names,
        y=names,
        text=report.confusion,
        texttemplate="%{text}" if len(names) <= _MOST_IN_CELLS else None,
        hovertemplate="%{y} taken for %{x}: %{text} (%{z:.0%})<extra></extra>",
        colorscale="Blues",
        zmin=0,
        zmax=1,
        colorbar={"title": "share of<br>the class"},
    )
    every = {"dtick": 1, "automargin": True, "tickfont": {"size": 12 if len(names) <= _MOST_IN_CELLS else 10}}
    figure = go.Figure(cells).update_yaxes(autorange="reversed", title="true class", **every)
    figure.update_xaxes(title="predicted class", **every)
    side = 280 + min(60, max(16, 900 // len(names))) * len(names)
    return figure.update_layout(title=f"Confusion matrix of the {report.part} clips", width=side, height=side - 60)


def class_bars(report: ClassReport) -> go.Figure:
    """Plot precision and recall of each class as bars; a value that is undefined has none."""
    names = [f"{row.name} ({row.videos})" for row in report.classes]
    bars = [
        go.Bar(
            y=names, x=[getattr(row, score) for row in report.classes], name=score, orientation="h", marker_color=colour
        )
        for score, colour in _SCORES.items()
    ]
    figure = go.Figure(bars).update_xaxes(range=[0, 1], side="top")
    figure.update_yaxes(autorange="reversed", automargin=True, dtick=1)
    title = f"Precision and recall of each class (number of {report.part} clips)"
    return figure.update_layout(title=title, barmode="group", height=220 + 40 * len(names), bargap=0.25)


def _number(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}"

"""Plots of a report and of a training run, and pages of plots."""

from collections.abc import Mapping, Sequence
from html import escape

import plotly.graph_objects as go
from plotly.subplots import make_subplots

from rayreel.evaluation.comparison import Section
from rayreel.evaluation.examples import Examples
from rayreel.evaluation.methods import TOWER
from rayreel.evaluation.metrics import METRICS

Curve = Sequence[tuple[int, float]]

_COLOURS = ("#4c78a8", "#f58518", "#54a24b", "#b279a2", "#9d755d", "#72b7b2", "#eeca3b", "#ff9da6", "#79706e")
_COLUMNS, _MOST_CATEGORIES = 3, 40


def html(figures: Sequence[go.Figure], title: str, summary: str = "", below: str = "") -> str:
    """Return a page of figures below their title and summary. All scripts are embedded. `below` is HTML."""
    body = [f.to_html(full_html=False, include_plotlyjs=number == 0) for number, f in enumerate(figures)]
    style = "<style>body{font-family:sans-serif;margin:1.5em}</style>"
    head = f'<!doctype html><meta charset="utf-8"><title>{escape(title)}</title>{style}<h1>{escape(title)}</h1>'
    return f"{head}<p>{escape(summary)}</p>{''.join(body)}{below}"


def metric_curves(section: Section) -> go.Figure:
    """Plot every metric over k, one line per method; the tower's line is thick."""
    names = [name for name in METRICS if any(key.startswith(f"{name}@") for key in section.scores[TOWER])]
    figure = _grid(names)
    for number, (method, row) in enumerate(section.scores.items()):
        style = {"color": "black", "width": 4} if method == TOWER else {"color": _COLOURS[number % len(_COLOURS)]}
        for place, name in enumerate(names):
            points = [(int(key.split("@")[1]), score.mean) for key, score in row.items() if key.startswith(f"{name}@")]
            x, y = zip(*points, strict=True)
            line = go.Scatter(x=x, y=y, name=method, legendgroup=method, showlegend=place == 0, line=style)
            figure.add_trace(line, place // _COLUMNS + 1, place % _COLUMNS + 1)
    figure.update_xaxes(type="log", title="k")
    return figure.update_layout(title=f"{section.name}: metrics at k, {section.queries} queries")


def category_map(section: Section) -> go.Figure:
    """Plot a heat map of the headline metric by category and method, the tower's best categories on top."""
    tower = section.by_category[TOWER]
    categories = sorted(tower, key=lambda name: tower[name])[-_MOST_CATEGORIES:]
    values = [[row[name] for row in section.by_category.values()] for name in categories]
    cells = go.Heatmap(
        z=values, x=list(section.by_category), y=categories, colorscale="Viridis", texttemplate="%{z:.2f}"
    )
    title = f"{section.name}: {section.headline} by category"
    return go.Figure(cells, {"title": title, "height": 200 + 22 * len(categories)})


def confusion_map(examples: Examples, name: str) -> go.Figure:
    """Plot the categories of the results by that of the query: shares of the top results, 1 on the diagonal at best."""
    asked = sorted(examples.confusion, key=lambda name: examples.confusion[name].get(name, 0.0))[:_MOST_CATEGORIES]
    shares = [[examples.confusion[row].get(column, 0.0) for column in asked] for row in asked]
    cells = go.Heatmap(z=shares, x=asked, y=asked, colorscale="Blues", zmin=0, zmax=1, texttemplate="%{z:.2f}")
    figure = go.Figure(cells).update_xaxes(title="category of the results", dtick=1)
    figure.update_yaxes(autorange="reversed", title="category of the query", dtick=1)
    return figure.update_layout(title=f"{name}: confusion in the top results", height=220 + 26 * len(asked))


def training_curves(history: Mapping[str, Curve]) -> go.Figure:
    """Plot every metric of a run over its steps."""
    figure = _grid(list(history))
    for place, (name, points) in enumerate(history.items()):
        x, y = zip(*points, strict=True)
        line = go.Scatter(x=x, y=y, name=name, showlegend=False, line={"color": _COLOURS[0]})
        figure.add_trace(line, place // _COLUMNS + 1, place % _COLUMNS + 1)
    return figure.update_layout(title="Training")


def figures_of(section: Section) -> list[go.Figure]:
    """Return the metric curves and, with several categories, the maps by category."""
    several = len(section.by_category[TOWER]) > 1
    maps = [category_map(section)] if several else []
    if several and section.examples is not None:
        maps.append(confusion_map(section.examples, section.name))
    return [metric_curves(section), *maps]


def _grid(titles: Sequence[str]) -> go.Figure:
    rows = -(-len(titles) // _COLUMNS)
    figure = make_subplots(rows, _COLUMNS, subplot_titles=titles)
    return figure.update_layout(height=120 + 280 * rows)

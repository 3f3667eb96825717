"""The report as one self-contained HTML page: tables, plots, and what the tower answers to single queries."""

from collections.abc import Mapping
from dataclasses import dataclass
from importlib import resources
from typing import Any

import plotly.graph_objects as go
from jinja2 import Environment
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from rayreel.evaluation import report
from rayreel.evaluation.comparison import Section
from rayreel.evaluation.evaluate import Evaluation
from rayreel.evaluation.methods import TOWER
from rayreel.evaluation.plots import Curve, figures_of, training_curves
from rayreel.features.matrix import FeatureMatrix
from rayreel.media.pictures import PictureKind, Pictures, thumbnail

_POSTER_PX, _SHEET_PX = 88, 72


@dataclass(frozen=True, slots=True)
class VideoLook:
    """A video as readers see it; poster and contact sheet are data URLs, "" if none are kept."""

    title: str
    category: str
    poster: str
    sheet: str


def report_page(
    evaluation: Evaluation,
    title: str,
    looks: Mapping[str, VideoLook] | None = None,
    training: Mapping[str, Curve] | None = None,
) -> str:
    """Return HTML with all scripts and pictures embedded. Without `looks`, no single queries are shown."""
    template = Environment(autoescape=True).from_string(
        (resources.files("rayreel.evaluation") / "report.html").read_text()
    )
    return template.render(
        title=title,
        about=f"{evaluation.held_out} of {evaluation.videos} videos were held out from training.",
        warnings=report.warnings(evaluation),
        parts=[_part(evaluation, section, with_examples=looks is not None) for section in evaluation.sections.values()],
        looks=looks,
        leaks=report.leak_table(evaluation),
        leaks_about=report.LEAKS_ABOUT,
        training=_html(training_curves(training)) if training else "",
        tower=TOWER,
        note=report.NOTE,
        plotly=Markup(get_plotlyjs()),  # noqa: S704 - the library's own script
    )


def looks_of(evaluation: Evaluation, matrix: FeatureMatrix, pictures: Pictures) -> dict[str, VideoLook]:
    """Return the videos of all examples by id, with the pictures that are kept of them."""
    examples = [section.examples for section in evaluation.sections.values() if section.examples is not None]
    queries = {example.query for found in examples for example in (*found.best, *found.worst)}
    results = {i for found in examples for example in (*found.best, *found.worst) for i in example.results}
    columns = (matrix.column(name) for name in ("video_id", "title", "category", "content_hash"))
    return {
        video_id: VideoLook(
            title=title or video_id,
            category=category,
            poster=_small(pictures, content_hash, PictureKind.POSTER, _POSTER_PX),
            sheet=_small(pictures, content_hash, PictureKind.SHEET, _SHEET_PX) if video_id in queries else "",
        )
        for video_id, title, category, content_hash in zip(*columns, strict=True)
        if video_id in queries | results
    }


def _small(pictures: Pictures, content_hash: str | None, kind: PictureKind, height: int) -> str:
    content = pictures.read(content_hash, kind) if content_hash else None
    return thumbnail(content, height) if content else ""


def _part(evaluation: Evaluation, section: Section, *, with_examples: bool) -> dict[str, Any]:
    """Return what the template shows of a section."""
    return {
        "name": section.name,
        "anchor": section.name.replace(", ", "-").replace(" ", "-"),
        "metric": report.short(section.headline, section),
        "score": report.with_interval(section.scores[TOWER][section.headline]),
        "ahead": _ahead(section),
        "about": f"{section.about} {section.queries} queries, {section.candidates} candidates.",
        "verdict": report.verdict(evaluation, section),
        "tables": report.tables_of(evaluation, section),
        "figures": [_html(figure) for figure in figures_of(section)],
        "examples": section.examples if with_examples else None,
    }


def _ahead(section: Section) -> str:
    """Return the tower's lead over the best other method, with its interval."""
    others = [method for method in section.versus if not method.startswith(TOWER)]
    if not others:
        return ""
    best = max(others, key=lambda method: section.scores[method][section.headline].mean)
    lead = section.versus[best][section.headline]
    return f"{lead.difference:+.3f} [{lead.low:+.3f}, {lead.high:+.3f}] against {best}"


def _html(figure: go.Figure) -> Markup:
    return Markup(figure.to_html(full_html=False, include_plotlyjs=False))  # noqa: S704 - Plotly escapes its data

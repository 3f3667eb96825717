"""Showing what each source of text contributes to the rankings of a version."""

from dataclasses import asdict
from typing import Any

from rayreel.cli.output import console, step
from rayreel.cli.steps.evaluate import splits_of, terminal_table
from rayreel.encoders.encoder import Modality
from rayreel.encoders.load import load_encoder
from rayreel.evaluation import report
from rayreel.evaluation.comparison import Score, Section, Versus
from rayreel.evaluation.exam import Exam
from rayreel.evaluation.text_sources import TextSources, compare_text_sources
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import open_store
from rayreel.release.registry import Version
from rayreel.settings import Settings
from rayreel.training.tracking import run_config


def show_text_sources(settings: Settings, version: Version) -> list[dict[str, Any]]:
    """Encode the texts of a version's videos with and without each source, and show the rankings.

    Raises OtherEncoders if its text encoder is not here.
    """
    step("Comparing sources of text: their texts are encoded again")
    own = settings.of_release(version)
    matrix = FeatureMatrix.from_table(open_store(settings.place, version.encoder_key).read())
    exam = Exam.of(matrix, splits_of(settings, run_config(version.run_id)), settings.evaluation)
    encoder = load_encoder(Modality.TEXT, own.encoders, own.weights_cache)
    section, rows = compare_text_sources(exam, encoder, own.encoders.text_weights)
    console.print(terminal_table(_table(section, rows), console.width))
    return [asdict(row) for row in rows]


def _table(section: Section, rows: list[TextSources]) -> report.Table:
    metric = section.headline
    heads = ["sources of text", "videos", f"text alone, {metric}", "lost (p)", f"frozen features, {metric}", "lost (p)"]
    cells = [
        [row.name, str(row.videos), _mean(row.text), _lost(row.text_lost), _mean(row.mix), _lost(row.mix_lost)]
        for row in rows
    ]
    title = f"{section.name}: {section.queries} queries, {section.candidates} candidates"
    return report.Table(title, heads, cells, [set() for _ in heads])


def _mean(score: Score) -> str:
    return f"{score.mean:.3f}"


def _lost(versus: Versus | None) -> str:
    return (
        "" if versus is None else f"{versus.difference:+.3f} [{versus.low:+.3f}, {versus.high:+.3f}] ({versus.p:.3f})"
    )

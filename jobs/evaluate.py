"""Measure a registered tower on held-out videos, beside honest baselines."""

from typing import Annotated

import typer
from rich.table import Table

from command import ConfigFile, Sets, StorageRoot, console, finish, run, step
from rayreel.evaluation.evaluate import Evaluation, evaluate
from rayreel.features.matrix import FeatureMatrix
from rayreel.features.store import open_store
from rayreel.release import registry
from rayreel.release.registry import Version
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import log_evaluation, use_tracking


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = registry.CHALLENGER,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Measure a registered tower on held-out videos, beside random, TF-IDF, mean-pooled and untrained baselines."""
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    chosen = registry.resolve(version)
    evaluate_tower(settings, chosen)
    finish(
        f"metrics test/… of MLflow run {chosen.run_id}",
        f"python jobs/promote.py --version {chosen.number} --storage {settings.storage}",
    )


def evaluate_tower(settings: Settings, version: Version) -> Evaluation:
    """Evaluate, show the table and log it to the version's run."""
    step(f"Evaluating {registry.MODEL} version {version.number}")
    matrix = FeatureMatrix.from_table(open_store(settings.place, version.encoder_key).read())
    result = evaluate(registry.load(version), matrix, settings.splits)
    log_evaluation(version.run_id, result.flat, result.scores)
    console.print(comparison(result))
    return result


def comparison(result: Evaluation) -> Table:
    """Methods as rows, metrics as columns, the best of each column in bold."""
    title = f"{result.queries} held-out queries, {result.candidates} videos; relevant = same category, other source"
    names = list(next(iter(result.scores.values())))
    best = {name: max(row[name] for row in result.scores.values()) for name in names}
    heads = (name.replace("recall", "R").replace("precision", "P").replace("ndcg", "nDCG") for name in names)
    table = Table("method", *heads, title=title, title_justify="left")
    for method, row in result.scores.items():
        cells = (f"[bold]{row[n]:.3f}[/]" if row[n] == best[n] else f"{row[n]:.3f}" for n in names)
        table.add_row(method, *cells)
    return table


if __name__ == "__main__":
    run(main)

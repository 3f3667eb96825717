"""`rayreel evaluate`: measure a registered tower on held-out videos and views, beside baselines."""

import json
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Interactions, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import load_settings


def main(
    version: Annotated[str, typer.Option(help="Number or alias in the registry.")] = "challenger",
    text_sources: Annotated[
        bool,
        typer.Option(
            "--text-sources",
            help="Also encode texts with and without title, description, tags, transcript and summary, and compare.",
        ),
    ] = False,
    interactions: Interactions = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Measure a registered tower on the videos that its training held out, beside baselines that need little training.

    Videos are split as in the training of the version. With interactions, users' next views are predicted as well; by
    default, the interactions that the tower was trained with.
    """
    changed = [*(sets or []), *([] if interactions is None else [f"interactions={json.dumps(interactions)}"])]
    settings = load_settings(config, changed, storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps.evaluate import evaluate_tower, report_path
    from rayreel.cli.steps.text_sources import show_text_sources
    from rayreel.evaluation import report
    from rayreel.release import registry
    from rayreel.training.tracking import use_tracking

    use_tracking(settings.place)
    chosen = registry.resolve(version)
    result = evaluate_tower(settings, chosen)
    page = report_path(settings, chosen)
    sources = {"text_sources": show_text_sources(settings, chosen)} if text_sources else {}
    finish(
        {"version": chosen.number, "run_id": chosen.run_id, "page": page, **report.as_json(result), **sources},
        f"{page}, and to MLflow run {chosen.run_id}: metrics test/… and artifacts evaluation/ (page, Markdown, JSON)",
        next_command("promote", settings, config, changed, "--version", str(chosen.number)),
    )

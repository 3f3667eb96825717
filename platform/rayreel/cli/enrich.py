"""`rayreel enrich`: let a language model describe videos of which little is known."""

import json
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Interactions, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import load_settings


def main(
    limit: Annotated[int | None, typer.Option(min=1, help="Ask about at most this many videos now.")] = None,
    estimate: Annotated[
        bool, typer.Option("--estimate", help="Only show how many requests are needed, and what they cost at most.")
    ] = False,
    url: Annotated[
        str | None, typer.Option(help="OpenAI-compatible endpoint, which gets the texts (enrich.url).")
    ] = None,
    model: Annotated[str | None, typer.Option(help="Name of the model there (enrich.model).")] = None,
    interactions: Interactions = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Let a language model write a summary, topics and a clearer title for extracted videos.

    It reads title, description, tags and transcript and, with enrich.pictures, a contact sheet. Videos with the fewest
    views come first, then those with the least text. The answers are columns of their own, search by words reads them,
    and originals stay. Each answer is kept when it arrives, and the same question is never asked twice: run the command
    again after a kill or with a larger budget. The API key comes from $OPENAI_API_KEY or from enrich.key_file.
    """
    given = {"enrich.url": url, "enrich.model": model, "interactions": interactions}
    changed = [*(sets or []), *(f"{name}={json.dumps(value)}" for name, value in given.items() if value is not None)]
    settings = load_settings(config, changed, storage)
    from rayreel.cli.steps.enrich import enrich_videos, estimate_costs

    if estimate:
        estimate_costs(settings, limit)
        return
    report = enrich_videos(settings, limit)
    wrote = f"summaries, topics and titles of {report['written']} videos below {settings.place.root}"
    finish(report, wrote, next_command("index", settings, config, sets or []))

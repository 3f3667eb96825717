"""`rayreel ingest`: fetch videos from the web."""

from pathlib import Path
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import console, facts, finish, next_command, note, step
from rayreel.settings import SettingsError, load_settings


def main(
    addresses: Annotated[
        list[str], typer.Argument(metavar="URL…", help="Channels, playlists, pages, or ytsearch20:WORDS.")
    ],
    out: Annotated[Path | None, typer.Option(help="Folder to write to.", show_default="<storage>/web")] = None,
    longest: Annotated[float, typer.Option(help="Leave out longer videos, seconds.")] = 60,
    limit: Annotated[int | None, typer.Option(min=1, help="Maximum number of videos per URL.")] = None,
    captions: Annotated[str, typer.Option(help="Caption languages in order of preference, such as en,de.")] = "en",
    pause: Annotated[float, typer.Option(min=0, help="Seconds before each video and between requests.")] = 1.0,
    rate: Annotated[int | None, typer.Option(min=1, help="Bytes per second.")] = None,
    form: Annotated[str, typer.Option("--format", help="yt-dlp's format selection.")] = "b[height<=720]/b",
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Fetch short videos with titles, tags, dates and captions into a folder that `extract` reads, each once.

    Only fetch what its owner and the site allow. A run that ends early is continued by the same command.
    """
    from rayreel.catalog.ingest import IngestRules, ingest

    settings = load_settings(config, sets or [], storage)
    if out is None and not settings.place.is_local:
        raise SettingsError(f"{settings.storage} is no local folder to fetch videos into. Name one by --out.")
    folder = (out or Path(settings.place.root) / "web").resolve()
    languages = [name.strip() for name in captions.split(",") if name.strip()]
    step(f"Fetching {', '.join(addresses)} into {folder}")
    found = ingest(addresses, folder, IngestRules(longest, limit, languages, form, pause, rate))
    for failure in found.failed:
        note(f"Not read: {failure}")
    counts = {"fetched": found.fetched, "of these with captions": found.captioned, "too long": found.too_long}
    console.print(facts("Ingest", counts))
    then = next_command("extract", settings, config, sets or [], "--catalog", str(folder))
    finish({"folder": folder, "counts": counts, "failed": found.failed}, str(folder), then)

"""`rayreel encoders`: list the encoders, compare them on a catalog, and adopt others."""

import json
from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Interactions, Sets, StorageRoot
from rayreel.cli.output import emit, finish, next_command
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="markdown",
    help="List the frozen encoders, compare them on your videos, and replace those of the serving release.",
)
# Nothing is trained: all videos are divided between choosing the weights and the report.
_SPLITS = ("splits.validation=0.3", "splits.test=0.7")


@app.command("list")
def list_encoders(
    config: ConfigFile = None, sets: Sets = None, storage: StorageRoot = None, as_json: AsJson = False
) -> None:
    """List every encoder by name: width, licence, presets, whether its weights can be had here, and what is in use.

    Sources of weights that are not here are asked with a short timeout. Nothing is downloaded.
    """
    from rayreel.cli.steps.encoder_list import list_known

    emit(list_known(load_settings(config, sets or [], storage)))


@app.command()
def compare(
    catalog: Annotated[str, typer.Option(help="Folder of videos, or a .csv, .tsv, .jsonl or .parquet manifest.")],
    encoders: Annotated[
        str | None,
        typer.Option(
            metavar="A,B,hf:…",
            help="Names as in `list`, hf:OWNER/NAME@REVISION or folders; audio: or text: before one.",
        ),
    ] = None,
    limit: Annotated[int | None, typer.Option(min=1, help="Only so many videos, a fixed random sample.")] = None,
    budget_ms: Annotated[
        list[float] | None,
        typer.Option(help="Budget of ms per video to recommend for. May be repeated.", min=0, show_default="30"),
    ] = None,
    interactions: Interactions = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Run every encoder whose weights can be had on your videos, and show quality, cost, size and licence of each.

    Weights that are not here are downloaded; name a few with `--encoders` to avoid it. Features stay below the storage
    root: a second run reuses them, and a killed one continues.
    """
    from rayreel.catalog.read import read_catalog
    from rayreel.cli.steps.encoders import compare_on

    changed = [*(sets or []), *([] if interactions is None else [f"interactions={json.dumps(interactions)}"])]
    settings = load_settings(config, changed, storage, defaults=_SPLITS)
    rows = read_catalog(catalog, settings.limits)
    result, wrote, best = compare_on(settings, rows, encoders, limit, budget_ms or [30.0])
    adopting = next_command("encoders", settings, config, sets or [], "adopt", *best)
    then = adopting if best else "nothing: the settings use the recommended encoders"
    finish(result, wrote, then)


@app.command()
def adopt(
    names: Annotated[list[str], typer.Argument(help="Encoders, one per modality; the others stay.", metavar="NAME…")],
    max_failures: Annotated[
        str, typer.Option(metavar="N|N%", help="Videos that may fail and would be missing in the new release.")
    ] = "0",
    force: Annotated[
        str | None,
        typer.Option(metavar="REASON", help="Promote despite failed quality gates; see `rayreel promote`."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Replace encoders of the serving release: extract its videos, train with its settings, evaluate, promote.

    The release keeps serving until the gates let the new one pass. If they refuse it, nothing changes. A killed run
    continues when it is repeated.
    """
    from rayreel.cli.steps.adopt import adopt_encoders

    settings = load_settings(config, sets or [], storage)
    emit(adopt_encoders(settings, names, max_failures, force, config, sets or []))

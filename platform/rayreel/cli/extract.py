"""`rayreel extract`: turn a catalog of videos into a feature store."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish, next_command
from rayreel.settings import SettingsError, load_settings


def main(
    catalog: Annotated[str, typer.Option(help="Folder of videos, or a .csv, .tsv, .jsonl or .parquet manifest.")],
    add: Annotated[
        bool, typer.Option("--add", help="Add the catalog to the current one instead of replacing it.")
    ] = False,
    retry_quarantined: Annotated[
        bool, typer.Option("--retry-quarantined", help="Retry videos that earlier runs quarantined.")
    ] = False,
    max_failures: Annotated[
        str | None, typer.Option(metavar="N|N%", help="Fail as soon as more rows than this are quarantined.")
    ] = None,
    preset: Annotated[
        str | None,
        typer.Option(help="Encoders: laptop, standard, action, clip, modern, thesis or words (encoders.preset)."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Turn a catalog of videos into a feature store: decode on CPU tasks, encode on actors, write Parquet.

    Run it again after a change or a kill: only new and changed videos are processed. Videos that cannot be used are
    quarantined with a reason and do not stop the run.
    """
    changed = [*(sets or []), *([f"encoders.preset={preset}"] if preset else [])]
    settings = load_settings(config, changed, storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.catalog.read import read_catalog
    from rayreel.cli.steps.extract import as_dict, extract_features

    rows = read_catalog(catalog, settings.limits)
    allowed = None if max_failures is None else allowed_failures(max_failures, len(rows))
    report = extract_features(settings, rows, retry_quarantined=retry_quarantined, max_failures=allowed, adding=add)
    wrote = f"features and quarantine below {settings.place.root}"
    finish(as_dict(report), wrote, next_command("train", settings, config, changed))
    if report.nothing_usable:
        raise typer.Exit(1)


def allowed_failures(text: str, rows: int) -> int:
    """Return the number of rows that `5` or `5%` allows to fail. Raises SettingsError."""
    try:
        return int(rows * float(text[:-1]) / 100) if text.endswith("%") else int(text)
    except ValueError:
        raise SettingsError(
            f"--max-failures {text}: expected a number of rows, such as 20, or a share, such as 5%."
        ) from None

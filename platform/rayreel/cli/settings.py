"""`rayreel settings`: list the settings with their values."""

from typing import Annotated

import typer
from rich.markup import escape
from rich.table import Table

from rayreel.cli.described import matching, setting_lines
from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import console, emit
from rayreel.settings import SettingsError, load_settings


def main(
    name: Annotated[
        str, typer.Argument(help="Part or setting, such as release.gates or train.epochs.", show_default="all")
    ] = "",
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """List the settings with values, defaults and descriptions; values include --config, RAYREEL_… and --set.

    Set release.gates.min_recall with `--set release.gates.min_recall=0.9`, with RAYREEL_RELEASE__GATES__MIN_RECALL=0.9,
    or in a file for --config: `release: {gates: {min_recall: 0.9}}`.
    """
    lines = matching(setting_lines(load_settings(config, sets or [], storage)), name)
    if not lines:
        raise SettingsError(f"There is no setting or part {name}. `rayreel settings` lists all.")
    table = Table("setting", "value", "description", title_justify="left")
    for line in lines:
        value, default = escape(str(line.value)), escape(f"(default {line.default})")
        shown = value if line.value == line.default else f"[bold]{value}[/] {default}"
        table.add_row(line.name, shown, escape(line.description))
    console.print(table)
    emit({line.name: {"value": line.value, "default": line.default, "about": line.description} for line in lines})

"""`rayreel experiment`: what the arms of an experiment have reached, without a service."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.settings import load_settings

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="Compare scenarios that share the users of a service.",
)


@app.command()
def report(
    name: Annotated[str, typer.Argument(help="The experiment's name in experiments.yaml.")],
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Print what each arm has reached, and its difference to the control. May be called as often as you like.

    The intervals hold at every look. Means are of users who have been observed for the experiment's window_s.
    """
    from rayreel.cli.steps.experiment import print_report

    print_report(load_settings(config, sets or [], storage), name)

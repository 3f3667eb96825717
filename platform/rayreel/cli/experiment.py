"""`rayreel experiment`: what scenarios reach or would reach, without a service."""

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
    """Print what each arm has reached, and its difference to the control.

    The intervals stay valid however often you look. Means are of users who have been observed for the experiment's
    window_s.
    """
    from rayreel.cli.steps.experiment import print_report

    print_report(load_settings(config, sets or [], storage), name)


@app.command()
def estimate(
    scenario: Annotated[str, typer.Option(help="A scenario of scenarios.yaml, which need not have been served yet.")],
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Estimate what a scenario would reach, from kept answers of one that explored, before anyone sees it.

    Views per result by IPS, SNIPS and DR, with intervals, beside what was reached. Fails if the answers say too little.
    """
    from rayreel.cli.steps.experiment import print_estimate

    print_estimate(load_settings(config, sets or [], storage), scenario)

"""`rayreel follow`: follow MLflow's champion once, without a service; or register the service's webhook."""

from typing import Annotated

import typer

from rayreel.cli.options import AsJson, ConfigFile, Sets, StorageRoot
from rayreel.cli.output import finish
from rayreel.settings import load_settings


def main(
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Register the service's https://…/v1/mlflow/webhook with MLflow and test it."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
    as_json: AsJson = False,
) -> None:
    """Promote the version at MLflow's alias `champion`, or roll back to it, through the usual gates.

    A running service does this every release.follow_every_s seconds, unless release.follow is off.
    """
    settings = load_settings(config, sets or [], storage)
    # Not before the settings are valid: these imports take seconds.
    from rayreel.cli.steps.follow import follow_champion, register
    from rayreel.release.registry import CHAMPION
    from rayreel.training.tracking import use_tracking

    use_tracking(settings.place)
    if webhook is not None:
        name = register(settings, webhook)
        finish({"webhook": name, "url": webhook}, f"the webhook {name}", f"move {CHAMPION} in MLflow")
        return
    found = follow_champion(settings)
    result = {"state": found.state.value, "champion": found.wanted, "serving": found.serving}
    wrote = f"release {found.serving}" if found.serving else "nothing"
    finish(result, wrote, f"move {CHAMPION} in MLflow and run this command again")

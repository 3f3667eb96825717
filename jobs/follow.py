"""Follow MLflow's champion once, without a service; or register the service's webhook with MLflow."""

from typing import Annotated

import typer

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, run, step
from promote import promoting_site
from rayreel.errors import RayreelError
from rayreel.release import registry
from rayreel.release.follow import follow
from rayreel.release.following import FollowStatus, State, write_following
from rayreel.release.webhook import NAME, register_webhook
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking


class NotFollowed(RayreelError):
    """The champion does not serve, or the webhook could not be delivered."""


def main(
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Register the service's https://…/v1/mlflow/webhook with MLflow and test it."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Promote the version at MLflow's alias `champion`, or roll back to it, through the usual gates.

    A running service does this every release.follow_every_s seconds, unless release.follow is off.
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    if webhook is not None:
        _register(settings, webhook)
        return
    found = follow_champion(settings)
    finish(f"release {found.serving}" if found.serving else "nothing", "move the champion in MLflow and run this again")


def follow_champion(settings: Settings) -> FollowStatus:
    """Follow the champion once and show the result. Raises NotFollowed unless the champion serves."""
    step(f"Following {registry.CHAMPION} of {registry.MODEL}")
    site = promoting_site(settings)
    found = follow(site, again=True)
    write_following(site.storage, found)
    rows = {"state": found.state.value, registry.CHAMPION: found.wanted or "none", "serving": found.serving or "none"}
    console.print(facts("Following", rows))
    if found.state is not State.IN_STEP:
        raise NotFollowed("\n".join(filter(None, [found.reason, found.detail])))
    return found


def _register(settings: Settings, url: str) -> None:
    step(f"Registering {url} with MLflow")
    tried = register_webhook(url, settings.release.webhook_secret.get_secret_value())
    if not tried.success:
        cause = tried.error_message or f"status {tried.response_status}: {tried.response_body}"
        raise NotFollowed(f"The webhook {NAME} is registered, but MLflow could not reach {url}: {cause}")
    finish(f"the webhook {NAME}", f"move {registry.CHAMPION} in MLflow")


if __name__ == "__main__":
    run(main)

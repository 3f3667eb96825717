"""Follow the champion in MLflow, where no service does so by itself; or let MLflow's server call the service."""

from dataclasses import replace
from typing import Annotated

import typer

from command import ConfigFile, Sets, StorageRoot, console, facts, finish, run, step, store_name
from promote import site_of
from rayreel.errors import RayreelError
from rayreel.release import registry
from rayreel.release.follow import follow
from rayreel.release.following import Following, State, write_following
from rayreel.release.webhook import NAME, register_webhook
from rayreel.settings import Settings, load_settings
from rayreel.training.tracking import use_tracking


class NotFollowed(RayreelError):
    """The champion points at a version that does not serve."""


def main(
    webhook: Annotated[
        str | None,
        typer.Option(metavar="URL", help="Register the service's https://…/v1/mlflow/webhook with MLflow, and try it."),
    ] = None,
    config: ConfigFile = None,
    sets: Sets = None,
    storage: StorageRoot = None,
) -> None:
    """Look once where MLflow's alias `champion` points, and promote or roll back to that version, through its gates.

    A running service does so every release.follow_every_s seconds (release.follow=off: not at all).
    """
    settings = load_settings(config, sets or [], storage)
    use_tracking(settings.place)
    if webhook is not None:
        _register(settings, webhook)
        return
    found = follow_champion(settings)
    finish(
        f"release {found.serving}" if found.serving else "nothing", "move the champion in MLflow, and run this again"
    )


def follow_champion(settings: Settings) -> Following:
    """One look and what follows from it, shown. Raises NotFollowed where another version goes on serving."""
    step(f"Looking where {registry.CHAMPION} of {registry.MODEL} points")
    site = replace(site_of(settings), encoder_key=store_name(settings))
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

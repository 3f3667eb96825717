"""Following MLflow's champion once, and registering the webhook."""

from rayreel.cli.output import console, facts, step
from rayreel.cli.steps.promote import promoting_site
from rayreel.errors import RayreelError
from rayreel.release import registry
from rayreel.release.follow import follow
from rayreel.release.following import FollowStatus, State, write_following
from rayreel.release.webhook import NAME, register_webhook
from rayreel.settings import Settings


class NotFollowed(RayreelError):
    """The champion does not serve, or the webhook could not be delivered."""


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


def register(settings: Settings, url: str) -> str:
    """Register the webhook with MLflow and test it. Return its name. Raises NotFollowed if MLflow cannot reach it."""
    step(f"Registering {url} with MLflow")
    tried = register_webhook(url, settings.release.webhook_secret.get_secret_value())
    if not tried.success:
        cause = tried.error_message or f"status {tried.response_status}: {tried.response_body}"
        raise NotFollowed(f"The webhook {NAME} is registered, but MLflow could not reach {url}: {cause}")
    return NAME

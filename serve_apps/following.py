"""Following MLflow's champion: the service starts the reconciler, and starts it again when it is gone."""

import asyncio
import hashlib
import logging
from dataclasses import replace
from functools import partial

from rayreel.release.follower import start_follower, stop_follower
from rayreel.release.site import Site
from rayreel.settings import Settings
from rayreel.training.tracking import git_commit

log = logging.getLogger(__name__)

# Ray starts a killed actor again by itself; this is for one that somebody has ended.
ENSURE_S = 30.0


async def keep_following(settings: Settings) -> None:
    """Let somebody follow for as long as this replica lives; every replica does so, and they share one actor."""
    if settings.release.follow == "off":
        await asyncio.to_thread(stop_follower, settings.place)
        return
    renew = True  # a replica that starts later has the newer settings
    while True:
        try:
            await asyncio.to_thread(start_following, settings, renew=renew)
            renew = False
        except Exception:  # whatever it is, what serves goes on
            log.exception("the reconciler could not be started, and is tried again")
        await asyncio.sleep(ENSURE_S)


def start_following(settings: Settings, *, renew: bool) -> None:
    """One reconciler for these settings' storage; with `renew`, one of other settings is replaced. Blocks."""
    start_follower(
        partial(promoting_site, settings),
        settings.place,
        settings.release.follow_every_s,
        _identity(settings),
        here=settings.milvus_dir is not None,
        renew=renew,
    )


def promoting_site(settings: Settings) -> Site:
    """Where these settings promote: queries will be encoded with their encoders."""
    return replace(settings.site(), encoder_key=settings.encoder_key)


def _identity(settings: Settings) -> str:
    made_of = settings.model_dump_json() + settings.index.token.get_secret_value() + git_commit()
    return hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()

"""Keep the reconciler running, which follows MLflow's champion."""

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

# Interval of checks for an actor that was stopped on purpose; Ray itself restarts one that crashed.
ENSURE_S = 30.0


async def keep_following(settings: Settings) -> None:
    """Keep the reconciler running while this replica lives. All replicas do this for the same actor."""
    if settings.release.follow == "off":
        await asyncio.to_thread(stop_follower, settings.place)
        return
    renew = True  # a replica that starts now has the newest settings
    while True:
        try:
            await asyncio.to_thread(start_following, settings, renew=renew)
            renew = False
        except Exception:  # serving must not depend on it
            log.exception("the reconciler could not be started; trying again in %g s", ENSURE_S)
        await asyncio.sleep(ENSURE_S)


def start_following(settings: Settings, *, renew: bool) -> None:
    """Start the reconciler of the storage root if none is running; `renew` replaces one with other settings. Blocks."""
    start_follower(
        partial(promoting_site, settings),
        settings.place,
        settings.release,
        _identity(settings),
        here=settings.milvus_dir is not None,
        renew=renew,
    )


def promoting_site(settings: Settings) -> Site:
    """The site that the reconciler promotes in, with the encoders of the release that serves."""
    serving = settings.site().champion()
    own = settings if serving is None else settings.of_release(serving)
    return replace(own.site(), encoder_key=own.encoder_key)


def _identity(settings: Settings) -> str:
    made_of = settings.model_dump_json() + settings.index.token.get_secret_value() + git_commit()
    return hashlib.blake2b(made_of.encode(), digest_size=8).hexdigest()

"""Notify a running service that something has changed."""

import asyncio
import logging

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

log = logging.getLogger(__name__)

_PATIENCE_S = 30


def notify_service() -> None:
    """Let every replica of a running service look at once which release serves; they look by themselves, too."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        # In an event loop: where Serve is optimised for throughput, a handle works nowhere else.
        asyncio.run(_notify())
    except (RayServeException, KeyError):  # Serve does not run, or runs without such a deployment
        log.debug("no service runs in this cluster")
    except (RayError, TimeoutError) as error:
        log.warning("not every replica has heard; each looks within serve.refresh_s: %s", error)


async def _notify() -> None:
    handle = serve.get_deployment_handle("search", "rayreel")
    await handle.broadcast("refresh").results_async(timeout_s=_PATIENCE_S)

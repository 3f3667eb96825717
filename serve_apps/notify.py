"""Notify a running service of a change."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

log = logging.getLogger(__name__)

_TIMEOUT_S = 30


def notify_service() -> None:
    """Have every replica of a running service look for changes now rather than within serve.refresh_s."""
    logging.getLogger("ray.serve").setLevel(logging.ERROR)
    try:
        # When Serve is optimised for throughput, handles need an event loop, and a notebook's thread already runs one.
        with ThreadPoolExecutor(1) as thread:
            thread.submit(asyncio.run, _notify()).result()
    except (RayServeException, KeyError):  # Serve is not running, or has no such deployment
        log.debug("no service is running in this cluster")
    except (RayError, TimeoutError) as error:
        log.warning("not every replica was notified; each looks for changes within serve.refresh_s: %s", error)


async def _notify() -> None:
    handle = serve.get_deployment_handle("search", "rayreel")
    await handle.broadcast("refresh").results_async(timeout_s=_TIMEOUT_S)

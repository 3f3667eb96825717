"""Bring the release of a running service up to date, and notify the service of changes."""

import asyncio
import logging
from concurrent.futures import ThreadPoolExecutor

from ray import serve
from ray.exceptions import RayError
from ray.serve.exceptions import RayServeException

from rayreel.features.compact import compact
from rayreel.release.build import Progress
from rayreel.release.increment import Brought, bring_up_to_date
from rayreel.release.site import Candidate

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


def bring_service_up_to_date(
    candidate: Candidate, *, snapshot: bool = False, progress: Progress = lambda _stage, _done: None
) -> Brought:
    """Call `bring_up_to_date`, then notify a running service and compact the feature store. Raises NoFeatures, Held."""
    done = bring_up_to_date(candidate, snapshot=snapshot, progress=progress)
    notify_service()
    compact(candidate.store, on=candidate.site.release.read_on)
    return done

"""The search deployment: the HTTP API, and in memory the release that it answers from."""

import logging
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking
from serve_apps.api import make_api
from serve_apps.encoding import Encoding
from serve_apps.observe import log_with_serve
from serve_apps.service import Service

log = logging.getLogger(__name__)

# A replica that takes longer to look will see by itself.
ANNOUNCE_S = 10.0


@serve.deployment(name="search")
@serve.ingress()
class Search:
    """One replica of the API. Recommending by id takes nothing but its memory; all else one call or two behind it."""

    def __init__(self, settings: Settings, encode: DeploymentHandle, job_words: list[str]) -> None:
        log_with_serve()
        use_tracking(settings.place)
        self.service = Service(settings, Encoding(encode), self._announce, job_words)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """What Serve asks for once the replica is made."""
        return make_api(self.service)

    async def refresh(self) -> int | None:
        """Look for what has changed; when this returns it is known here. The release that serves, None without one."""
        return await self.service.state.known()

    async def check_health(self) -> None:
        """Serve replaces a replica that no longer follows what is written."""
        self.service.metrics.report_queues()
        if not self.service.is_looking:
            raise RuntimeError("this replica has stopped looking for changes")

    async def _announce(self) -> None:
        """Let every replica know what was written; one that has just died has nothing to forget."""
        await self.service.state.refresh()
        context = serve.get_replica_context()
        handle: DeploymentHandle = serve.get_deployment_handle(context.deployment, context.app_name)
        told: list[Any] = await handle.broadcast("refresh").results_async(timeout_s=ANNOUNCE_S, return_exceptions=True)
        for error in told:
            if isinstance(error, Exception) and not isinstance(error, RayActorError):
                log.warning("a replica could not be told of a change, and will see it by itself: %s", error)

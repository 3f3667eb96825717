"""The search deployment: the HTTP API, with the serving release in memory."""

import logging
from typing import Any

from ray import serve
from ray.exceptions import RayActorError
from ray.serve.handle import DeploymentHandle
from starlette.types import ASGIApp

from rayreel.compat.ray_serve import most_calls
from rayreel.settings import Settings
from rayreel.training.tracking import use_tracking
from serve_apps.api import make_api
from serve_apps.encoding import Encoding
from serve_apps.observe import log_with_serve
from serve_apps.service import Service

log = logging.getLogger(__name__)

# A replica that takes longer sees the change at its next regular look.
ANNOUNCE_S = 10.0


@serve.deployment(name="search")
@serve.ingress()
class Search:
    """One replica of the API. It answers queries by id from memory; others need the encoders, the index or both."""

    def __init__(self, settings: Settings, encode: DeploymentHandle, job_words: list[str]) -> None:
        log_with_serve()
        use_tracking(settings.place)
        self.service = Service(settings, Encoding(encode), self._announce, job_words)

    def __serve_build_asgi_app__(self) -> ASGIApp:
        """Return the ASGI application. Serve calls this once the replica is created."""
        return make_api(self.service, most_calls())

    async def refresh(self) -> int | None:
        """Look for changes and return the version of the serving release; None without one."""
        return await self.service.state.known()

    async def check_health(self) -> None:
        """Report queue lengths. Raises if this replica no longer looks for changes, so that Serve replaces it."""
        self.service.metrics.report_queues()
        if not self.service.is_looking:
            raise RuntimeError("this replica has stopped looking for changes")

    async def _announce(self) -> None:
        """Have every replica look for changes. Replicas that have just died are ignored."""
        await self.service.state.refresh()
        context = serve.get_replica_context()
        handle: DeploymentHandle = serve.get_deployment_handle(context.deployment, context.app_name)
        results: list[Any] = await handle.broadcast("refresh").results_async(
            timeout_s=ANNOUNCE_S, return_exceptions=True
        )
        for error in results:
            if isinstance(error, Exception) and not isinstance(error, RayActorError):
                log.warning("a replica was not notified of a change and will see it at its next look: %s", error)

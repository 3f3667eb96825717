"""The HTTP API: routes, middleware and documentation."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from fastapi import FastAPI
from fastapi_offline import FastAPIOffline

import rayreel
from serve_apps import problems
from serve_apps.limits import Admission, Deadlines
from serve_apps.observe import Measured
from serve_apps.routes import (
    embed,
    events,
    experiments,
    operation,
    page,
    pictures,
    recommend,
    releases,
    transcripts,
    users,
    videos,
)
from serve_apps.routes.recommend import FastPath
from serve_apps.security import protect
from serve_apps.service import Service
from serve_apps.uploads import UploadBudget

# `pictures` and `transcripts` before `videos`, whose ids may contain slashes.
_PARTS = (recommend, embed, events, users, pictures, transcripts, videos, releases, experiments, operation, page)
ROUTERS = (*(part.router for part in _PARTS), videos.jobs)
ABOUT = "Content-based video recommendations."


def make_api(service: Service, most_calls: int) -> FastAPI:
    """Build the application of a replica that Serve sends up to `most_calls` requests at once.

    Its start-up ends after the service has looked for a release. The documentation pages include their scripts,
    because closed networks have no access to a CDN.
    """

    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        await service.start()
        yield
        service.stop()

    api: FastAPI = FastAPIOffline(title="rayreel", version=rayreel.__version__, description=ABOUT, lifespan=lifespan)
    api.state.service = service
    for router in ROUTERS:
        api.include_router(router)
    problems.install(api)
    # From the innermost to the outermost.
    api.add_middleware(FastPath, service=service)
    api.add_middleware(Deadlines, timeout_s=service.settings.serve.timeout_s)
    api.add_middleware(UploadBudget, config=service.settings.serve)
    api.add_middleware(Admission, most_calls=most_calls)
    protect(api, service.settings)
    api.add_middleware(Measured, metrics=service.metrics)
    return api

"""A limit on the concurrent requests of one replica."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_apps.problems import problem

# Below config.yaml's max_ongoing_requests, at which Serve itself would refuse requests with a plain-text response.
MOST = 224
# Health checks are needed most under load.
_UNLIMITED = {"/healthz", "/readyz"}


class Admission:
    """ASGI: responds 429 with Retry-After while `most` requests are in progress."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self.app, self.most, self.ongoing = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond 429."""
        if scope["type"] != "http" or scope["path"] in _UNLIMITED:
            await self.app(scope, receive, send)
            return
        if self.ongoing >= self.most:
            await problem(429, "The service is at its limit of concurrent requests. Try again later.", Request(scope))(
                scope, receive, send
            )
            return
        self.ongoing += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.ongoing -= 1

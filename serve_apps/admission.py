"""A limit on the concurrent requests of one replica."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_apps.problems import problem

# Health checks are needed most under load.
_UNLIMITED = {"/healthz", "/readyz"}


class Admission:
    """ASGI: responds 429 with Retry-After while 7/8 of `most_calls` requests are in progress.

    At `most_calls`, Serve itself would refuse requests with a plain-text response.
    """

    def __init__(self, app: ASGIApp, most_calls: int) -> None:
        self.app, self.most, self.ongoing = app, max(1, most_calls * 7 // 8), 0

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

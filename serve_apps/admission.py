"""How many requests one replica works on at once."""

from starlette.requests import Request
from starlette.types import ASGIApp, Receive, Scope, Send

from serve_apps.problems import problem

# Below config.yaml's max_ongoing_requests, at which Serve itself refuses, in plain text.
MOST = 224
# Whoever asks how the service is must hear it most when there is a crowd.
_ALWAYS = {"/healthz", "/readyz"}


class Admission:
    """ASGI: 429 with Retry-After for what comes when `most` requests are being worked on."""

    def __init__(self, app: ASGIApp, most: int = MOST) -> None:
        self.app, self.most, self.ongoing = app, most, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or tell it to come again."""
        if scope["type"] != "http" or scope["path"] in _ALWAYS:
            await self.app(scope, receive, send)
            return
        if self.ongoing >= self.most:
            await problem(429, "The service is working on as much as it can.", Request(scope))(scope, receive, send)
            return
        self.ongoing += 1
        try:
            await self.app(scope, receive, send)
        finally:
            self.ongoing -= 1

"""A limit on the bytes of uploads that one replica processes at once. Cancels uploads whose client disconnects."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.access.config import ServeConfig
from serve_apps.problems import problem
from serve_apps.refusing import refuse

# Each upload takes at least this much of the budget, so that many slow, small uploads cannot use up the concurrent
# requests (see `Admission`), which queries need too.
LEAST = 4 << 20


class UploadBudget:
    """ASGI: responds 429 with Retry-After to an upload that would exceed `serve.max_uploads_bytes` with the others.

    An upload of undeclared length takes as much as the largest allowed body. One that is larger than the whole budget
    is accepted if there is no other.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config, self.taken = app, config, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or respond 429 before its body is read."""
        size = self._size(scope) if scope["type"] == "http" else None
        if size is None:
            await self.app(scope, receive, send)
        elif self.taken and self.taken + size > self.config.max_uploads_bytes:
            detail = "Too many uploads are in progress. Try again later."
            await refuse(problem(429, detail, Request(scope)), scope, receive, send)
        else:
            self.taken += size
            try:
                await _while_connected(self.app, scope, receive, send)
            finally:
                self.taken -= size

    def _size(self, scope: Scope) -> int | None:
        """Return the bytes that a request takes from the budget; None if it is not an upload."""
        headers = dict(scope["headers"])
        if not headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data"):
            return None
        declared, limit = headers.get(b"content-length", b""), self.config.max_body_bytes
        return max(LEAST, min(int(declared), limit) if declared.isdigit() else limit)


async def _while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the application for one request, and cancel it if the client disconnects after the body.

    Serve could do this, but would read the whole body into memory; compat/haproxy.py turns that off for uploads.
    """
    complete = asyncio.Event()

    async def receive_watched() -> Message:
        message = await receive()
        if not message.get("more_body"):
            complete.set()
        return message

    async def disconnected() -> None:
        await complete.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    work, watch = asyncio.ensure_future(app(scope, receive_watched, send)), asyncio.create_task(disconnected())
    try:
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        ended = not work.cancel()
    if ended:
        await work

"""Uploads: how many bytes of them one replica works on at once, and what becomes of one whose client has left."""

import asyncio

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from rayreel.access.config import ServeConfig
from serve_apps.problems import problem
from serve_apps.refusing import refuse

# What each upload takes from the budget at least: many small ones that come slowly leave room for queries, which have
# the same limit of requests at once (`admission.MOST`).
LEAST = 4 << 20


class UploadBudget:
    """ASGI: 429 with Retry-After for an upload that does not fit into `serve.max_uploads_bytes` beside the others.

    An upload of undeclared length takes as much as it may grow to. One that is larger than the whole budget is let in
    when there is no other.
    """

    def __init__(self, app: ASGIApp, config: ServeConfig) -> None:
        self.app, self.config, self.taken = app, config, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let one request in, or refuse it before its body is read."""
        size = self._size(scope) if scope["type"] == "http" else None
        if size is None:
            await self.app(scope, receive, send)
        elif self.taken and self.taken + size > self.config.max_uploads_bytes:
            words = "The uploads that are being worked on leave no room for this one."
            await refuse(problem(429, words, Request(scope)), scope, receive, send)
        else:
            self.taken += size
            try:
                await _while_connected(self.app, scope, receive, send)
            finally:
                self.taken -= size

    def _size(self, scope: Scope) -> int | None:
        """Bytes that a request takes from the budget; None for one that is no upload."""
        headers = dict(scope["headers"])
        if not headers.get(b"content-type", b"").lower().startswith(b"multipart/form-data"):
            return None
        declared, limit = headers.get(b"content-length", b""), self.config.max_body_bytes
        return max(LEAST, min(int(declared), limit) if declared.isdigit() else limit)


async def _while_connected(app: ASGIApp, scope: Scope, receive: Receive, send: Send) -> None:
    """Run the application for one request, and cancel it when the client leaves after the body.

    Serve could watch, but reads the whole body into memory to do so; serve_apps/haproxy turns that off for uploads.
    """
    whole = asyncio.Event()

    async def noted() -> Message:
        message = await receive()
        if not message.get("more_body"):
            whole.set()
        return message

    async def left() -> None:
        await whole.wait()
        while (await receive())["type"] != "http.disconnect":
            pass

    work, watch = asyncio.ensure_future(app(scope, noted, send)), asyncio.create_task(left())
    try:
        await asyncio.wait((work, watch), return_when=asyncio.FIRST_COMPLETED)
    finally:
        watch.cancel()
        ended = not work.cancel()
    if ended:
        await work

"""Deadlines of requests: passes the remaining time to downstream calls, and cancels them at the deadline."""

import asyncio
import math
from contextvars import ContextVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.problems import problem

HEADER = b"x-request-timeout"
_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)


def remaining() -> float:
    """Return the remaining seconds of the current request; infinite outside of one."""
    deadline = _DEADLINE.get()
    return math.inf if deadline == math.inf else deadline - asyncio.get_running_loop().time()


class Deadlines:
    """ASGI: responds 504 to requests that take longer than `timeout_s` or their X-Request-Timeout header (seconds)."""

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self.app, self.timeout_s = app, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on with a deadline."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seconds = self._seconds(scope)
        if seconds is None:
            detail = f"X-Request-Timeout: expected seconds above 0; the limit is {self.timeout_s:g}."
            await problem(422, detail, Request(scope))(scope, receive, send)
            return
        started = False

        async def send_watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(seconds) as deadline:
                _DEADLINE.set(deadline.when() or math.inf)
                await self.app(scope, receive, send_watched)
        except TimeoutError:
            if started or not deadline.expired():
                raise
            detail = f"No response within {seconds:g} s. The request was cancelled."
            await problem(504, detail, Request(scope))(scope, receive, send)

    def _seconds(self, scope: Scope) -> float | None:
        for name, value in scope["headers"]:
            if name == HEADER:
                return self._parse(value.decode("latin-1"))
        return self.timeout_s

    def _parse(self, text: str) -> float | None:
        try:
            seconds = float(text)
        except ValueError:
            return None
        return min(seconds, self.timeout_s) if seconds > 0 else None

"""Every request has a deadline; what works for it behind hears how much time is left, and is cancelled at its end."""

import asyncio
import math
from contextvars import ContextVar

from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from serve_apps.problems import problem

HEADER = b"x-request-timeout"
_DEADLINE: ContextVar[float] = ContextVar("deadline", default=math.inf)


def remaining() -> float:
    """Seconds that the current request has left; infinite outside of one."""
    deadline = _DEADLINE.get()
    return math.inf if deadline == math.inf else deadline - asyncio.get_running_loop().time()


class Deadlines:
    """ASGI: 504 for a request that takes longer than `timeout_s`, or than its X-Request-Timeout asks for (seconds)."""

    def __init__(self, app: ASGIApp, timeout_s: float) -> None:
        self.app, self.timeout_s = app, timeout_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request in time."""
        if scope["type"] != "http":
            await self.app(scope, receive, send)
            return
        seconds = self._seconds(scope)
        if seconds is None:
            words = f"X-Request-Timeout: expected seconds above 0, at most {self.timeout_s:g} of them count."
            await problem(422, words, Request(scope))(scope, receive, send)
            return
        started = False

        async def watched(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            async with asyncio.timeout(seconds) as deadline:
                _DEADLINE.set(deadline.when() or math.inf)
                await self.app(scope, receive, watched)
        except TimeoutError:
            if started or not deadline.expired():
                raise
            words = f"No answer within {seconds:g} s; what was being done for it has been cancelled."
            await problem(504, words, Request(scope))(scope, receive, send)

    def _seconds(self, scope: Scope) -> float | None:
        for name, value in scope["headers"]:
            if name == HEADER:
                return self._asked(value.decode("latin-1"))
        return self.timeout_s

    def _asked(self, text: str) -> float | None:
        try:
            seconds = float(text)
        except ValueError:
            return None
        return min(seconds, self.timeout_s) if seconds > 0 else None
